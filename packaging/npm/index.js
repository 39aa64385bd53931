// Starts fake-shimmy and talks to it. The server is a single file for Python, which is beside this
// one; it needs no packages. What is public is described in index.d.ts.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const pyz = fileURLToPath(new URL("fake-shimmy.pyz", import.meta.url));

const READY = /^fake-shimmy listens on (http:\S+)$/m;
const CHECK = "import sys; print(sys.executable); sys.exit(sys.version_info < (3, 11))";
const LOG_LIMIT = 1 << 20; // characters
const STOP_GRACE = 1000; // ms from SIGTERM to SIGKILL

let found;

/** The path of a Python that runs the fake. */
export function findPython() {
  found ??= searchPython();
  return found;
}

function searchPython() {
  const named = process.env.FAKE_SHIMMY_PYTHON;
  const minors = [14, 13, 12, 11].map((minor) => [`python3.${minor}`]);
  const candidates = named ? [[named]] : [["python3"], ["python"], ["py", "-3"], ...minors];
  for (const [command, ...args] of candidates) {
    const asked = spawnSync(command, [...args, "-c", CHECK], { encoding: "utf8" });
    // Itself, and not the launcher that was found, which may take longer than Python does.
    if (asked.status === 0) return asked.stdout.trim();
  }
  const looked = candidates.map((each) => each.join(" ")).join(", ");
  throw new Error(
    `fake-shimmy needs Python 3.11 or newer, and found none (looked for: ${looked}). ` +
      "Install one, or name it in FAKE_SHIMMY_PYTHON.",
  );
}

/** The variables for a fake that another program starts. */
export function variables(options = {}) {
  const { models = ["placeholder"], release, build, gpu, token, script, apiKey } = options;
  const named = {
    FAKE_SHIMMY_MODELS: models.join(","),
    FAKE_SHIMMY_RELEASE: release,
    FAKE_SHIMMY_BUILD: build,
    FAKE_SHIMMY_GPU: gpu,
    FAKE_SHIMMY_CONTROL: token,
    FAKE_SHIMMY_SCRIPT: script,
    SHIMMY_API_KEY: apiKey,
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

/** Put an executable into a folder that is the fake under another name. */
export async function install(folder, name = "shimmy") {
  const python = findPython();
  if (process.platform === "win32") {
    const path = join(folder, `${name}.cmd`);
    await writeFile(path, `@"${python}" "${pyz}" %*\r\n`);
    return path;
  }
  const path = join(folder, name);
  const [quoted, file] = [python, pyz].map((each) => `'${each.replaceAll("'", "'\\''")}'`);
  // exec: the process that is started is the server itself.
  await writeFile(path, `#!/bin/sh\nexec ${quoted} ${file} "$@"\n`);
  await chmod(path, 0o755);
  return path;
}

/** Says and asks things over the control route, for one session. */
export class Control {
  #agent = new http.Agent({ keepAlive: true });

  constructor(url, token, session = "") {
    this.url = url.replace(/\/+$/, "");
    this.token = token;
    this.session = session;
  }

  /** A plain request: what a test does to the global fetch does not reach it. */
  ask(message) {
    return new Promise((resolve, reject) => {
      const headers = { "x-fake-shimmy-control": this.token, "content-type": "application/json" };
      const options = { method: "POST", headers, agent: this.#agent };
      const request = http.request(`${this.url}/fake-shimmy/control`, options, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const body = Buffer.concat(chunks).toString();
          if (response.statusCode === 200) resolve(JSON.parse(body));
          else reject(this.#refusal(response.statusCode, body));
        });
      });
      request.on("error", (error) => {
        // A connection that was kept open across the end of a server is not an answer.
        if (request.reusedSocket) this.ask(message).then(resolve, reject);
        else reject(error);
      });
      request.end(JSON.stringify(message));
    });
  }

  #refusal(status, body) {
    if (status === 400) return new Error(`fake-shimmy: ${JSON.parse(body).error}`);
    return new Error(
      `${this.url} has no control route, or not for this token: it answered ${status}. ` +
        "It must be a fake-shimmy that was started with FAKE_SHIMMY_CONTROL.",
    );
  }

  async script(script = {}) {
    await this.ask({ op: "open", session: this.session, script });
  }

  async add(rule) {
    return (await this.ask({ op: "add", session: this.session, rule })).id;
  }

  reply(reply, more = {}) {
    return this.add({ reply, ...more });
  }

  fail(fail, more = {}) {
    return this.add({ fail, ...more });
  }

  async requests() {
    return (await this.ask({ op: "journal", session: this.session })).records.map(withJson);
  }

  async waitFor(when = {}, { count = 1, seconds = 5 } = {}) {
    const message = { op: "wait", session: this.session, when, count, seconds };
    const state = await this.ask(message);
    if (state.timed_out) {
      const wanted = JSON.stringify(when);
      throw new Error(
        `fake-shimmy: fewer than ${count} requests like ${wanted} in ${seconds} s, ` +
          `of ${state.records.length} in all`,
      );
    }
    return state.records.map(withJson);
  }

  close() {
    this.#agent.destroy();
  }
}

function withJson(record) {
  let json;
  try {
    json = JSON.parse(record.body);
  } catch {
    json = undefined;
  }
  return { ...record, json };
}

/** A running server. */
export class FakeShimmy extends Control {
  #child;
  #log;

  constructor(url, token, child, log) {
    super(url, token);
    this.#child = child;
    this.#log = log;
    this.baseUrl = `${this.url}/v1`;
    this.port = Number(new URL(url).port);
    this.pid = child.pid;
    this.exited = log.exited;
  }

  get log() {
    return this.#log.text;
  }

  async stop() {
    this.close();
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      for (const each of handles(child)) each.ref();
      child.kill("SIGTERM");
      // A script may have it ignore that.
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE);
      await this.exited;
      clearTimeout(timer);
    }
    return this.exited;
  }
}

/** The end of what a child writes; reading goes on as long as it lives, or a full pipe stops it. */
class Log {
  text = "";

  constructor(child) {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        this.text = (this.text + text).slice(-LOG_LIMIT);
        this.onText?.();
      });
    }
    this.exited = once(child, "close").then(([code, signal]) => ({ code, signal }));
  }
}

/** Start a server; it is there, and answers, when the promise is fulfilled. */
export async function start(options = {}) {
  const { port = 0, python = findPython(), env = {}, args = [], timeout = 30_000, script } = options;
  const token = options.token ?? randomBytes(16).toString("hex");
  const folder = typeof script === "object" ? await mkdtemp(join(tmpdir(), "fake-shimmy-")) : null;
  try {
    const file = folder === null ? script : join(folder, "script.json");
    if (folder !== null) await writeFile(file, JSON.stringify(script));
    const serve = [pyz, "serve", "--bind", `127.0.0.1:${port}`, ...args];
    const child = spawn(python, serve, {
      env: {
        ...withoutSettings(process.env),
        ...variables({ ...options, script: file, token }),
        FAKE_SHIMMY_READY: "1",
        // It ends with this process, whatever ends that: the pipe is closed then.
        FAKE_SHIMMY_ENDS_WITH: "stdin",
        ...env,
      },
      windowsHide: true,
    });
    child.stdin.on("error", () => {}); // it may end before anything else does
    return await ready(child, token, timeout);
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}

/** What this process was told about a shimmy is not meant for a test's. */
function withoutSettings(environment) {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^(FAKE_)?SHIMMY_/.test(name)),
  );
}

function handles(child) {
  return [child, child.stdin, child.stdout, child.stderr];
}

async function ready(child, token, timeout) {
  await once(child, "spawn");
  const log = new Log(child);
  let timer;
  const url = await new Promise((resolve, reject) => {
    const told = (what) => new Error(`fake-shimmy ${what}. It wrote:\n${log.text}`);
    log.onText = () => {
      const line = READY.exec(log.text);
      if (line) resolve(line[1]);
    };
    log.exited.then(({ code, signal }) => reject(told(`ended while starting (${signal ?? code})`)));
    timer = setTimeout(() => {
      reject(told(`does not listen after ${timeout} ms`));
      child.kill("SIGKILL");
    }, timeout);
  }).finally(() => {
    clearTimeout(timer);
    log.onText = undefined;
  });
  // A test that forgets to stop it can end.
  for (const each of handles(child)) each.unref();
  return new FakeShimmy(url, token, child, log);
}

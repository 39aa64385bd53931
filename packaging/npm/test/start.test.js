import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Control, install, start, variables } from "../index.js";

const COMMAND = fileURLToPath(new URL("../fake-shimmy.js", import.meta.url));
const INDEX = new URL("../index.js", import.meta.url).href;

async function chat(shimmy, content, headers = {}) {
  const answer = await fetch(`${shimmy.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({
      model: "placeholder",
      stream: false,
      messages: [{ role: "user", content }],
    }),
  });
  if (!answer.ok) return answer.status;
  return (await answer.json()).choices[0].message.content;
}

async function isGone(url) {
  for (;;) {
    try {
      await fetch(`${url}/health`);
    } catch {
      return true;
    }
  }
}

describe("a server", () => {
  let shimmy;
  before(async () => {
    shimmy = await start();
  });
  after(() => shimmy.stop());
  beforeEach(() => shimmy.script());

  test("it answers when it has started, at its own port", async () => {
    assert.equal(shimmy.url, `http://127.0.0.1:${shimmy.port}`);
    assert.equal((await (await fetch(`${shimmy.url}/health`)).json()).status, "ok");
  });

  test("what it answers is told, rule by rule", async () => {
    await shimmy.reply("Paris.", { when: { user: "France" } });
    await shimmy.fail(503, { times: 1 });
    assert.equal(await chat(shimmy, "Capital of France?"), "Paris.");
    assert.equal(await chat(shimmy, "x"), 503);
    assert.match(await chat(shimmy, "x"), /to: x$/);
  });

  test("a script replaces what was said before", async () => {
    await shimmy.reply("old");
    await chat(shimmy, "x");
    await shimmy.script({ rules: [{ reply: "new" }] });
    assert.equal(await chat(shimmy, "x"), "new");
    assert.equal((await shimmy.requests()).length, 1);
  });

  test("it tells what it was asked", async () => {
    await chat(shimmy, "Hello");
    const [request, ...others] = await shimmy.requests();
    assert.deepEqual(others, []);
    assert.equal(request.json.messages[0].content, "Hello");
    assert.equal(request.status, 200);
  });

  test("requests are waited for", async () => {
    const waiting = shimmy.waitFor({ user: "second" });
    await chat(shimmy, "first");
    await chat(shimmy, "second");
    assert.equal((await waiting).length, 2);
    await assert.rejects(shimmy.waitFor({ user: "third" }, { seconds: 0 }), /of 2 in all/);
  });

  test("what cannot be meant is an error with the reason", async () => {
    await assert.rejects(shimmy.add({ repyl: "x" }), /rule\.repyl: there is no such member/);
    await assert.rejects(new Control(shimmy.url, "wrong").requests(), /it answered 404/);
  });

  test("sessions are told apart by API key", async () => {
    const other = new Control(shimmy.url, shimmy.token, "key-2");
    await other.script({ rules: [{ reply: "other" }] });
    assert.equal(await chat(shimmy, "x", { authorization: "Bearer key-2" }), "other");
    assert.notEqual(await chat(shimmy, "x"), "other");
    assert.equal((await other.requests()).length, 1);
    await other.ask({ op: "close", session: "key-2" });
    other.close();
  });

  test("connections are refused for a while, and taken again", async () => {
    await shimmy.ask({ op: "refuse" });
    const error = await once(connect(shimmy.port, "127.0.0.1"), "connect").catch((it) => it);
    assert.equal(error.code, "ECONNREFUSED");
    await shimmy.ask({ op: "accept" });
    assert.ok((await fetch(`${shimmy.url}/health`)).ok);
  });

  test("its log is read, however much it writes", async () => {
    await Promise.all(Array.from({ length: 60 }, () => chat(shimmy, "x")));
    assert.match(shimmy.log, /Shimmy v2/);
    assert.ok(shimmy.log.length > 65_536);
  });
});

test("what is pretended is said by options, and not by the environment", async () => {
  process.env.SHIMMY_API_KEY = "too short";
  try {
    const options = { release: "2.5.0", build: "cpu-only", models: ["a", "b"] };
    const shimmy = await start(options);
    const { data } = await (await fetch(`${shimmy.baseUrl}/models`)).json();
    assert.deepEqual(data.map((model) => model.id).sort(), ["a", "b"]);
    assert.match(shimmy.log, /Shimmy v2\.5\.0/);
    assert.deepEqual(await shimmy.stop(), { code: null, signal: "SIGTERM" });
    assert.deepEqual(await shimmy.stop(), { code: null, signal: "SIGTERM" });
  } finally {
    delete process.env.SHIMMY_API_KEY;
  }
});

test("a server with a key asks for it", async () => {
  const apiKey = "0123456789abcdef";
  const shimmy = await start({ apiKey });
  assert.equal(await chat(shimmy, "x"), 401);
  await shimmy.reply("yes");
  assert.equal(await chat(shimmy, "x", { authorization: `Bearer ${apiKey}` }), "yes");
  await shimmy.stop();
});

test("a server that was started again is controlled as before", async () => {
  const first = await start({ token: "t" });
  const control = new Control(first.url, "t");
  await control.requests();
  await first.stop();
  const second = await start({ token: "t", port: first.port });
  assert.deepEqual(await control.requests(), []);
  await second.stop();
  control.close();
});

test("a start that fails is an error with its last words", async () => {
  const script = { life: { refuse: { status: 3, stderr: "no room" } } };
  await assert.rejects(start({ script }), /ended while starting \(3\)\. It wrote:[^]*no room/);
  await assert.rejects(start({ script: "gone.json" }), /gone\.json: it cannot be read/);
});

test("a start that takes too long is an error", async () => {
  const script = { life: { start_delay: 600 } };
  await assert.rejects(start({ script, timeout: 300 }), /does not listen after 300 ms/);
});

test("a server that ignores signals is stopped, too", async () => {
  const shimmy = await start({ script: { life: { stop_delay: 600 } } });
  assert.equal((await shimmy.stop()).signal, "SIGKILL");
});

test("no server is left when the process that started it is killed", async () => {
  const code = `const { start } = await import(${JSON.stringify(INDEX)});
    console.log((await start()).url); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code]);
  const [url] = await once(child.stdout.setEncoding("utf8"), "data");
  child.kill("SIGKILL");
  assert.ok(await isGone(url.trim()));
});

test("a program that forgets to stop it ends", () => {
  const code = `const { start } = await import(${JSON.stringify(INDEX)}); await start();`;
  const done = spawnSync(process.execPath, ["--input-type=module", "-e", code], { timeout: 20_000 });
  assert.equal(done.status, 0);
});

test("without a Python, that is said", () => {
  const env = { PATH: "", FAKE_SHIMMY_PYTHON: "no-such-python" };
  const done = spawnSync(process.execPath, [COMMAND, "--version"], { env, encoding: "utf8" });
  assert.equal(done.status, 127);
  assert.match(done.stderr, /needs Python 3\.11 or newer, and found none \(looked for: no-such-py/);
});

test("the command is shimmy's, with its status and its end by a signal", async () => {
  const done = spawnSync(process.execPath, [COMMAND, "serve", "--no"], { encoding: "utf8" });
  assert.equal(done.status, 2);
  assert.match(done.stderr, /unexpected argument '--no' found/);
  const env = { ...process.env, ...variables(), FAKE_SHIMMY_READY: "1" };
  const args = [COMMAND, "serve", "--bind", "127.0.0.1:0"];
  const child = spawn(process.execPath, args, { env });
  let text = "";
  for await (const data of child.stdout.setEncoding("utf8")) {
    text += data;
    if (/listens on .*\n/.test(text)) child.kill("SIGTERM");
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  assert.equal(child.signalCode, "SIGTERM");
});

test("an application finds it under shimmy's name", async () => {
  const folder = await mkdtemp(join(tmpdir(), "it's a folder "));
  try {
    const path = await install(folder);
    const env = { ...process.env, ...variables({ models: ["m"] }) };
    const done = spawnSync(path, ["list", "--short"], { env, encoding: "utf8" });
    assert.equal(done.stdout, "m\n");
    assert.equal(spawnSync(path, ["--version"], { encoding: "utf8" }).stdout, "shimmy 2.6.5\n");
  } finally {
    await rm(folder, { recursive: true });
  }
});

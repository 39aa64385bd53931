// The application against fake-shimmy, and against a real shimmy where SHIMMY and SHIMMY_MODEL name
// an executable and a model file.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, parse } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { Control, install, variables } from "fake-shimmy";
import { ModelError, Sidecar } from "../src/chat.js";

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      assert(address !== null && typeof address === "object");
      server.close(() => resolve(address.port));
    });
  });
}

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

describe("on the fake", () => {
  let folder: string, executable: string;
  let sidecar: Sidecar;
  let shimmy: Control;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "chat-"));
    executable = await install(folder);
    Object.assign(process.env, variables({ models: ["phi-3"], token: "t" }));
    const port = await freePort();
    sidecar = await Sidecar.start({ executable, port, model: "phi-3" });
    shimmy = new Control(`http://127.0.0.1:${port}`, "t");
  });
  after(async () => {
    await sidecar.stop();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => shimmy.script());

  test("a question is sent, and its answer arrives in pieces", async () => {
    await shimmy.reply(["Par", "is", "."], { when: { user: "France" } });
    const pieces: string[] = [];
    for await (const piece of sidecar.ask("Capital of France?")) pieces.push(piece);
    assert.deepEqual(pieces, ["Par", "is", "."]);
    const [request] = await shimmy.requests();
    assert.equal(request?.json.model, "phi-3");
    assert.equal(request?.json.stream, true);
  });

  test("an answer that breaks off is an error", async () => {
    await shimmy.reply(["Par", "is"], { faults: [{ do: "reset", at: { tokens: 1 } }] });
    await assert.rejects(whole(sidecar.ask("x")), ModelError);
  });

  test("an answer without its end is an error", async () => {
    await shimmy.reply("Paris", { faults: [{ do: "garble", how: "missing_done" }] });
    await assert.rejects(whole(sidecar.ask("x")), /ended too early/);
  });

  test("a character may be cut between two packets", async () => {
    const cut = { do: "stall", at: { tokens: 1, inside: "character" }, seconds: 0.02 } as const;
    await shimmy.reply(["sign: ", "€"], { faults: [cut] });
    assert.equal(await whole(sidecar.ask("x")), "sign: €");
  });

  test("a failure of the server is told", async () => {
    await shimmy.fail(503, { times: 1 });
    await assert.rejects(whole(sidecar.ask("x")), /status 503/);
    assert.ok(await whole(sidecar.ask("x")));
  });

  test("a start that fails is told", async () => {
    const script = join(folder, "script.json");
    await writeFile(script, JSON.stringify({ life: { refuse: { status: 7 } } }));
    process.env.FAKE_SHIMMY_SCRIPT = script;
    try {
      const settings = { executable, port: await freePort(), model: "phi-3" };
      await assert.rejects(Sidecar.start(settings), /ended with status 7/);
    } finally {
      delete process.env.FAKE_SHIMMY_SCRIPT;
    }
  });
});

const { SHIMMY, SHIMMY_MODEL } = process.env;
const missing = SHIMMY && SHIMMY_MODEL ? false : "SHIMMY and SHIMMY_MODEL name no real one";

test("on a real shimmy, an answer arrives", { skip: missing }, async () => {
  const sidecar = await Sidecar.start({
    executable: SHIMMY!,
    port: await freePort(),
    model: parse(SHIMMY_MODEL!).name,
    modelPath: SHIMMY_MODEL,
  });
  try {
    assert.ok(await whole(sidecar.ask("Hello")));
  } finally {
    await sidecar.stop();
  }
});

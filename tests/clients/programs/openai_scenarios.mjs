// The openai package of npm. Arguments and output as in record.py; run in the folder that has
// node_modules.

import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { OpenAI } = require("openai");
const { standardResponseFormat } = require("openai/helpers/standard-schema");
const [url, model, broken] = process.argv.slice(2);
const hi = [{ role: "user", content: "Hi" }];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const scenarios = {};

const calls = readFileSync(new URL("openai_calls.json", import.meta.url), "utf8")
  .replaceAll('"MODEL"', JSON.stringify(model))
  .replaceAll('"BROKEN"', JSON.stringify(broken));
for (const [name, [method, body]] of Object.entries(JSON.parse(calls))) {
  const path = method.split(".");
  const last = path.pop();
  const owner = path.reduce((found, part) => found[part], client);
  scenarios[name] = () => (last === "list" ? owner.list() : owner[last](body));
}

scenarios.model_retrieve = () => client.models.retrieve(model);

// The server answers and hangs up before the upload ends, so it is a race which of the two it is.
scenarios.transcription = async () => {
  const file = new File(["RIFF"], "a.wav");
  const error = await client.audio.transcriptions.create({ model, file }).catch((it) => it);
  return { expected: ["APIConnectionError", "NotFoundError"].includes(error.constructor.name) };
};

scenarios.with_response = async () => {
  const { data, response, request_id } = await client.chat.completions
    .create({ model, messages: hi, stream: false, max_tokens: 4 })
    .withResponse();
  return { data, headers: headers(response), request_id };
};

scenarios.with_response_without_stream = async () => {
  const { data, response } = await client.chat.completions
    .create({ model, messages: hi, max_tokens: 4 })
    .withResponse();
  return { type: typeof data, headers: headers(response) };
};

scenarios.as_response = async () => {
  const response = await client.chat.completions
    .create({ model, messages: hi, stream: true, max_tokens: 3 })
    .asResponse();
  return { status: response.status, text: await response.text() };
};

scenarios.stream_helper = async () => {
  const events = [];
  const stream = client.chat.completions.stream({ model, messages: hi, max_tokens: 3 });
  stream.on("content", (delta) => events.push(delta)).on("end", () => events.push("(end)"));
  return { final: await stream.finalChatCompletion(), events };
};

scenarios.stream_helper_unknown_model = () =>
  client.chat.completions.stream({ model: "nope", messages: hi }).finalContent();

scenarios.run_tools = async () => {
  const called = [];
  const weather = {
    name: "weather",
    description: "The weather",
    parameters: { type: "object", properties: {} },
    parse: JSON.parse,
    function: () => called.push("weather"),
  };
  const runner = client.chat.completions.runTools({
    model,
    messages: hi,
    stream: false,
    max_tokens: 4,
    tools: [{ type: "function", function: weather }],
  });
  return { content: await runner.finalContent(), called };
};

scenarios.parse_structured_output = () => {
  const validate = (value) => ({ value });
  const schema = { "~standard": { version: 1, vendor: "none", validate } };
  const format = standardResponseFormat(schema, "city", { schema: { type: "object" } });
  const body = { model, messages: hi, stream: false, max_tokens: 4, response_format: format };
  return client.chat.completions.parse(body);
};

scenarios.runs_out_of_retries = async () => {
  const counts = [];
  const retrying = client.withOptions({
    maxRetries: 1,
    fetch: (address, init) => {
      counts.push(new Headers(init.headers).get("x-stainless-retry-count"));
      return fetch(address, init);
    },
  });
  try {
    await retrying.chat.completions.create({ model: broken, messages: hi, stream: false });
  } catch (error) {
    return { raises: error.constructor.name, retry_counts: counts };
  }
};

scenarios.leaving_a_stream = async () => {
  const first = [];
  const stream = await client.chat.completions.create({ model, messages: hi, stream: true });
  for await (const chunk of stream) {
    first.push(chunk.choices[0].delta);
    if (first.length === 3) break;
  }
  const after = await client.models.list();
  return { first, aborted: stream.controller.signal.aborted, after: after.data.map((m) => m.id) };
};

scenarios.aborting_a_stream = async () => {
  const deltas = [];
  const abort = new AbortController();
  const body = { model, messages: hi, stream: true };
  const stream = await client.chat.completions.create(body, { signal: abort.signal });
  try {
    for await (const chunk of stream) {
      deltas.push(chunk.choices[0].delta);
      if (deltas.length === 3) abort.abort();
    }
  } catch (error) {
    return { deltas, ...failure(error) };
  }
  // Chunks that came in the same read as the third one are still handed out: how many there are is
  // the network's business.
  return { deltas: deltas.slice(0, 3) };
};

scenarios.twenty_streams_at_once = () => {
  const read = async (_, number) => {
    const messages = [{ role: "user", content: `<${number}>` }];
    const body = { model, messages, stream: true, max_tokens: 25 };
    let text = "";
    for await (const chunk of await client.chat.completions.create(body)) {
      text += chunk.choices[0].delta.content ?? "";
    }
    return text;
  };
  return Promise.all(Array.from({ length: 20 }, read));
};

function headers(response) {
  return Object.fromEntries([...response.headers].filter(([name]) => name !== "date"));
}

function failure(error) {
  const record = { raises: error.constructor.name, message: error.message };
  for (const name of ["status", "code", "param", "error"]) {
    if (error[name] != null) record[name] = error[name];
  }
  return record;
}

async function outcome(result) {
  if (typeof result !== "object" || result === null) return { type: typeof result, value: result };
  const type = result.constructor.name;
  if (Array.isArray(result)) return { type, value: result };
  if (!(Symbol.asyncIterator in result)) return { type, ...result };
  const record = { type, items: [] };
  try {
    for await (const item of result) record.items.push(item);
  } catch (error) {
    Object.assign(record, failure(error));
  }
  return record;
}

const records = {};
for (const [name, scenario] of Object.entries(scenarios)) {
  try {
    records[name] = await outcome(await scenario());
  } catch (error) {
    records[name] = failure(error);
  }
}
writeSync(1, JSON.stringify(records, null, 1));

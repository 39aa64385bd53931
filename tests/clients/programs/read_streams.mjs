// The same as read_streams.py for the client of npm.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

// Packages are found from the working directory, which is the environment.
const require = createRequire(process.cwd() + '/');
const { OpenAI } = require("openai");

for await (const line of createInterface({ input: process.stdin })) {
  const [url, apiKey] = line.split(' ');
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 20_000 });
  let text = '';
  let error = null;
  try {
    const messages = [{ role: 'user', content: 'Hi' }];
    for await (const chunk of await client.chat.completions.create({ model: 'tiny', messages, stream: true })) {
      for (const choice of chunk.choices) text += choice.delta.content ?? '';
    }
  } catch (raised) {
    error = raised.constructor.name;
  }
  console.log(JSON.stringify({ text, error }));
}

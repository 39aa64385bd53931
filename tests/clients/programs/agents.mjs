// The Vercel AI SDK's generateText and streamText, with one tool; prints what it says in the end.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "shimmy",
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
});
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `21 °C in ${city}`,
});
const options = {
  model: provider("assistant"),
  tools: { weather },
  stopWhen: stepCountIs(3),
  prompt: "Weather in Rome?",
  maxRetries: 0,
};
if (process.env.STREAM === "1") {
  const { text } = streamText(options);
  console.log(await text);
} else {
  console.log((await generateText(options)).text);
}

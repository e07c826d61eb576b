// Vercel's AI SDK, with its provider for servers that speak OpenAI's chat format.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { runWith } from "./ai_sdk.mjs";
import { key, url } from "./scenarios.mjs";

await runWith(
  createOpenAICompatible({
    name: "gateway",
    baseURL: `${url}/v1`,
    apiKey: key,
    includeUsage: true,
    supportsStructuredOutputs: true,
  }),
);

// Vercel's AI SDK, with its provider for OpenAI.
import { createOpenAI } from "@ai-sdk/openai";
import { runWith } from "./ai_sdk.mjs";
import { key, url } from "./scenarios.mjs";

await runWith(createOpenAI({ baseURL: `${url}/v1`, apiKey: key }));

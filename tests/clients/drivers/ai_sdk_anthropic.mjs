// Vercel's AI SDK, with its provider for Anthropic.
import { createAnthropic } from "@ai-sdk/anthropic";
import { runWith } from "./ai_sdk.mjs";
import { key, url } from "./scenarios.mjs";

await runWith(createAnthropic({ baseURL: `${url}/v1`, apiKey: key }));

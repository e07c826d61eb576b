// What Vercel's AI SDK does with each of its providers.
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { CALL, DESCRIPTION, HELLO, Place, REPORT, RESULT, Report, run, same, says, streamed } from "./scenarios.mjs";

const weather = tool({
  description: DESCRIPTION,
  inputSchema: Place,
  execute: async ({ city }) => {
    same(city, "Ulm");
    return RESULT;
  },
});

export async function runWith(provider) {
  const settings = (model) => ({ model: provider(model), maxRetries: 0 });
  await run({
    async plain(model) {
      const answer = await generateText({ ...settings(model), prompt: HELLO });
      says(answer.text, HELLO);
      same(answer.usage.outputTokens > 0, true);
    },
    async stream(model) {
      let failed = null;
      const answer = streamText({ ...settings(model), prompt: HELLO, onError: ({ error }) => (failed = error) });
      const pieces = [];
      for await (const piece of answer.textStream) pieces.push(piece);
      if (failed) throw failed;
      streamed(pieces);
      same((await answer.usage).outputTokens > 0, true);
    },
    async tool(model) {
      const answer = await generateText({ ...settings(model), prompt: CALL, tools: { weather }, stopWhen: stepCountIs(3) });
      same(answer.steps.length, 2);
      says(answer.text, RESULT);
    },
    async structured(model) {
      const output = Output.object({ schema: Report });
      same((await generateText({ ...settings(model), prompt: HELLO, output })).output, REPORT);
    },
  });
}

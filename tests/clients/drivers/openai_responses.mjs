// OpenAI's package for Node, Responses.
import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { CALL, DESCRIPTION, HELLO, Place, REPORT, RESULT, Report, key, run, same, says, streamed, url } from "./scenarios.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, timeout: 60_000 });
const tools = [zodResponsesFunction({ name: "weather", description: DESCRIPTION, parameters: Place })];

await run({
  async plain(model) {
    const answer = await client.responses.create({ model, input: HELLO, store: false });
    same(answer.status, "completed");
    says(answer.output_text, HELLO);
  },
  async stream(model) {
    const stream = client.responses.stream({ model, input: HELLO, store: false });
    const pieces = [];
    stream.on("response.output_text.delta", (event) => pieces.push(event.delta));
    const answer = await stream.finalResponse();
    streamed(pieces);
    same(answer.usage.output_tokens > 0, true);
  },
  async tool(model) {
    const include = model.startsWith("gpt-5") ? ["reasoning.encrypted_content"] : [];
    const input = [{ role: "user", content: CALL }];
    const answer = await client.responses.create({ model, input, tools, include, store: false });
    const [call] = answer.output.filter((item) => item.type === "function_call");
    same([call.name, JSON.parse(call.arguments)], ["weather", { city: "Ulm" }]);
    input.push(...answer.output, { type: "function_call_output", call_id: call.call_id, output: RESULT });
    says((await client.responses.create({ model, input, tools, include, store: false })).output_text, RESULT);
  },
  async structured(model) {
    const text = { format: zodTextFormat(Report, "report") };
    same((await client.responses.parse({ model, input: HELLO, text, store: false })).output_parsed, REPORT);
  },
});

// OpenAI's package for Node, chat completions.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { CALL, DESCRIPTION, HELLO, Place, REPORT, RESULT, Report, key, run, same, says, streamed, url } from "./scenarios.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, timeout: 60_000 });
const tools = [zodFunction({ name: "weather", description: DESCRIPTION, parameters: Place })];
const user = (content) => [{ role: "user", content }];

await run({
  async plain(model) {
    const answer = await client.chat.completions.create({ model, messages: user(HELLO) });
    same(answer.choices[0].finish_reason, "stop");
    says(answer.choices[0].message.content, HELLO);
  },
  async stream(model) {
    const stream = client.chat.completions.stream({ model, messages: user(HELLO), stream_options: { include_usage: true } });
    const pieces = [];
    stream.on("content", (delta) => pieces.push(delta));
    const answer = await stream.finalChatCompletion();
    streamed(pieces);
    same(answer.usage.completion_tokens > 0, true);
  },
  async tool(model) {
    const messages = user(CALL);
    const { message, finish_reason } = (await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion()).choices[0];
    same(finish_reason, "tool_calls");
    const [call] = message.tool_calls;
    same([call.function.name, JSON.parse(call.function.arguments)], ["weather", { city: "Ulm" }]);
    messages.push(message, { role: "tool", tool_call_id: call.id, content: RESULT });
    says((await client.chat.completions.create({ model, messages, tools })).choices[0].message.content, RESULT);
  },
  async structured(model) {
    const response_format = zodResponseFormat(Report, "report");
    const answer = await client.chat.completions.parse({ model, messages: user(HELLO), response_format });
    same(answer.choices[0].message.parsed, REPORT);
  },
});

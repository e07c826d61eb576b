// What every driver in JavaScript does; see scenarios.py.
import { z } from "zod";

const asked = JSON.parse(process.argv[2]);
export const { url, key } = asked;

export const HELLO = "The quick brown fox jumps over the lazy dog.";
export const CALL = 'CALL weather {"city": "Ulm"} ';
export const RESULT = "18 degrees and rain";
export const DESCRIPTION = "The weather in a city.";
export const Place = z.object({ city: z.string() });
export const Report = z.object({ city: z.string(), degrees: z.int(), sky: z.enum(["clear", "cloudy"]) });
export const REPORT = { city: "Ulm", degrees: 7, sky: "clear" };

export function same(found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

export function says(text, wanted) {
  if (!text?.includes(wanted)) throw new Error(`${JSON.stringify(text)} does not contain ${JSON.stringify(wanted)}`);
}

export function streamed(pieces, wanted = HELLO) {
  if (pieces.length < 2) throw new Error(`a stream of ${pieces.length} pieces`);
  says(pieces.join(""), wanted);
}

export async function run(scenarios) {
  for (const model of asked.models) {
    for (const scenario of asked.scenarios) {
      let error = null;
      try {
        await scenarios[scenario]?.(model);
      } catch (failed) {
        error = `${failed.stack ?? failed}\n${failed.responseBody ?? ""}`;
      }
      console.log(JSON.stringify({ model, scenario, applies: scenario in scenarios, error }));
    }
  }
}

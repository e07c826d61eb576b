"""What the Agents SDK does with either of its models for OpenAI."""

from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.models.interface import Model
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from scenarios import CALL, HELLO, KEY, REPORT, RESULT, URL, Report, run, same, says, streamed

set_tracing_disabled(True)


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    same(city, "Ulm")
    return RESULT


def run_with(kind: type[Model]) -> None:
    def agent(model: str, **more) -> Agent:
        client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=60)
        settings = ModelSettings(include_usage=True)
        return Agent(name="Suite", model=kind(model, client), model_settings=settings, **more)

    async def plain(model: str) -> None:
        answer = await Runner.run(agent(model), HELLO)
        says(answer.final_output, HELLO)
        assert answer.context_wrapper.usage.output_tokens > 0

    async def stream(model: str) -> None:
        running = Runner.run_streamed(agent(model), HELLO)
        events = [event.data async for event in running.stream_events() if event.type == "raw_response_event"]
        streamed([event.delta for event in events if isinstance(event, ResponseTextDeltaEvent)])
        assert running.context_wrapper.usage.output_tokens > 0

    async def tool(model: str) -> None:
        says((await Runner.run(agent(model, tools=[weather]), CALL)).final_output, RESULT)

    async def structured(model: str) -> None:
        same((await Runner.run(agent(model, output_type=Report), HELLO)).final_output, REPORT)

    run(plain=plain, stream=stream, tool=tool, structured=structured)

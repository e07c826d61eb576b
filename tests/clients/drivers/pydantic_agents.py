"""What Pydantic AI does with either of its models for OpenAI."""

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models import Model
from pydantic_ai.providers.openai import OpenAIProvider
from scenarios import CALL, HELLO, KEY, REPORT, RESULT, URL, Report, run, same, says, streamed


def weather(city: str) -> str:
    """The weather in a city."""
    same(city, "Ulm")
    return RESULT


def run_with(kind: type[Model]) -> None:
    def agent(model: str, **more) -> Agent:
        return Agent(kind(model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)), retries=0, **more)

    async def plain(model: str) -> None:
        answer = await agent(model).run(HELLO)
        says(answer.output, HELLO)
        assert answer.usage.output_tokens > 0

    async def stream(model: str) -> None:
        async with agent(model).run_stream(HELLO) as running:
            streamed([piece async for piece in running.stream_text(delta=True, debounce_by=None)])

    async def tool(model: str) -> None:
        says((await agent(model, tools=[weather]).run(CALL)).output, RESULT)

    async def structured(model: str) -> None:
        # Not as a call that the model has to make, which Claude refuses since Sonnet 5.5.
        same((await agent(model, output_type=NativeOutput(Report)).run(HELLO)).output, REPORT)

    run(plain=plain, stream=stream, tool=tool, structured=structured)

"""LangGraph, with LangChain's model for OpenAI."""

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessageChunk, AnyMessage
from langchain_core.tools import tool as make_tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from scenarios import CALL, HELLO, KEY, REPORT, RESULT, URL, Report, run, same, says, streamed


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@make_tool
def weather(city: str) -> str:
    """The weather in a city."""
    same(city, "Ulm")
    return RESULT


def chat(model: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model=model, max_retries=0, timeout=60, stream_usage=True)


def graph(model: str, tools: list[Any]) -> Any:
    bound = chat(model).bind_tools(tools) if tools else chat(model)
    built = StateGraph(State)
    built.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    built.add_node("tools", ToolNode(tools))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", tools_condition)
    built.add_edge("tools", "model")
    return built.compile()


def plain(model: str) -> None:
    answer = graph(model, []).invoke({"messages": [("user", HELLO)]})["messages"][-1]
    says(answer.text, HELLO)
    assert answer.usage_metadata["output_tokens"] > 0


def stream(model: str) -> None:
    told = graph(model, []).stream({"messages": [("user", HELLO)]}, stream_mode="messages")
    streamed([chunk.text for chunk, _ in told if isinstance(chunk, AIMessageChunk) and chunk.text])


def tool(model: str) -> None:
    says(graph(model, [weather]).invoke({"messages": [("user", CALL)]})["messages"][-1].text, RESULT)


def structured(model: str) -> None:
    same(chat(model).with_structured_output(Report).invoke(HELLO), REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)

"""Pydantic AI, over chat completions."""

from pydantic_agents import run_with
from pydantic_ai.models.openai import OpenAIChatModel

run_with(OpenAIChatModel)

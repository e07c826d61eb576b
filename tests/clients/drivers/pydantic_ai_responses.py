"""Pydantic AI, over Responses."""

from pydantic_agents import run_with
from pydantic_ai.models.openai import OpenAIResponsesModel

run_with(OpenAIResponsesModel)

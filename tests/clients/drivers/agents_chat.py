"""OpenAI's Agents SDK for Python, over chat completions."""

from agents import OpenAIChatCompletionsModel
from agents_sdk import run_with

run_with(OpenAIChatCompletionsModel)

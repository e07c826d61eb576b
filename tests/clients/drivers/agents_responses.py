"""OpenAI's Agents SDK for Python, over Responses."""

from agents import OpenAIResponsesModel
from agents_sdk import run_with

run_with(OpenAIResponsesModel)

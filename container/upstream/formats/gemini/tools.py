"""Tools and the choice among them: OpenAI's functions as Gemini's declarations, Google's own tools by their names.

Source: https://ai.google.dev/api/caching#Tool
"""

from typing import Any

from ..format import Unsupported
from .schema import clean

# Google's own tools, as LiteLLM and Google write them.
_GOOGLES = {
    "googleSearch": "googleSearch", "google_search": "googleSearch",
    "googleSearchRetrieval": "googleSearchRetrieval", "google_search_retrieval": "googleSearchRetrieval",
    "enterpriseWebSearch": "enterpriseWebSearch", "enterprise_web_search": "enterpriseWebSearch",
    "urlContext": "urlContext", "url_context": "urlContext",
    "codeExecution": "codeExecution", "code_execution": "codeExecution",
}  # fmt: skip
# Not beside functions: Google refuses that, and LiteLLM leaves these out too.
_SEARCHES = frozenset(("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "urlContext"))
_WEB_SEARCH = frozenset(("web_search", "web_search_preview"))
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def tools(declared: list[Any], *, web_search: bool) -> list[dict[str, Any]]:
    """`web_search`: the request has `web_search_options`. Raises Unsupported for a tool that Gemini does not have."""
    functions: list[dict[str, Any]] = []
    own: dict[str, Any] = {"googleSearch": {}} if web_search else {}
    for tool in declared:
        function = tool.get("function", tool)
        if tool.get("type") in _WEB_SEARCH:
            own["googleSearch"] = {}
        elif isinstance(function, dict) and isinstance(function.get("name"), str):
            functions.append(_declaration(function))
        else:
            name, value = _googles(tool)
            own[name] = value
    if functions:
        own = {name: value for name, value in own.items() if name not in _SEARCHES}
    listed: list[dict[str, Any]] = [{"functionDeclarations": functions}] if functions else []
    return listed + [{name: value} for name, value in own.items()]


def choice(wanted: Any) -> dict[str, Any]:
    """`tool_choice` as `toolConfig`."""
    if isinstance(wanted, str) and wanted in _MODES:
        return {"functionCallingConfig": {"mode": _MODES[wanted]}}
    function = wanted.get("function") if isinstance(wanted, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise Unsupported("tool_choice", "'tool_choice' has to be 'none', 'auto', 'required' or a function.")
    return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": function["name"]}
    if function.get("description") is not None:
        declared["description"] = function["description"]
    if isinstance(function.get("parameters"), dict):
        declared["parameters"] = clean(function["parameters"])
    return declared


def _googles(tool: dict[str, Any]) -> tuple[str, Any]:
    """One that has nothing but its name and, as some write it, a type. (What calls itself a function is counted as one
    under a budget, and Google's own tools are not free.)"""
    named = [name for name in tool if name != "type"]
    if len(named) == 1 and named[0] in _GOOGLES and tool.get("type") not in ("function", "custom"):
        return _GOOGLES[named[0]], tool[named[0]] or {}
    raise Unsupported("tools", f"A tool of type {tool.get('type')!r} is not known to this model.")

"""Translates tools to Gemini's format, including their JSON schemas.

Gemini accepts a subset of OpenAPI's schema. References are resolved, alternatives with `null` become `nullable`, and
unsupported keywords are removed. Gemini allows nothing next to `anyOf`, so an object with alternatives becomes one
object with the properties of all of them. https://ai.google.dev/api/caching#Schema

OpenAI's functions become declarations, and Google's own tools are passed by name.
https://ai.google.dev/api/caching#Tool
"""

from collections.abc import Mapping
from typing import Any

from ..shared.wire import Unsupported

# Keywords copied unchanged. `type`, `enum`, `format`, `items`, `properties`, `required` and `anyOf` are handled below.
_KEPT = frozenset(
    "title description nullable default minItems maxItems minProperties maxProperties minimum maximum minLength "
    "maxLength pattern example propertyOrdering".split()
)
# With a list of types, these apply to the objects and arrays among them.
_OF_CONTAINERS = ("properties", "required", "items", "minItems", "maxItems", "minProperties", "maxProperties")
_FORMATS = frozenset(("enum", "date-time"))
# A few references to each other can expand to millions of nodes.
MAX_NODES = 20_000
MAX_DEPTH = 100

_COMBINED = ("allOf", "anyOf", "oneOf")
# Keywords that alternatives inherit from the enclosing schema unless they set them.
_INHERITED = ("type", "enum", "const", "format", "items", "minimum", "maximum", "minLength", "maxLength", "pattern")
_MOST_REFERENCES = 20  # in a row

Schema = Mapping[str, Any]


def clean(schema: Schema) -> dict[str, Any]:
    """Converts the schema of an object. Raises Unsupported if it is too deep or too large once expanded."""
    return _Cleaner(schema).root()


class _Cleaner:
    def __init__(self, schema: Schema) -> None:
        self._nodes = 0
        self._whole = schema

    def root(self) -> dict[str, Any]:
        """Parameters are always an object, even if the schema offers several alternatives."""
        schema = self._whole
        names = {**_object(schema, "definitions"), **_object(schema, "$defs")}
        alternatives = _alternatives(schema)
        real = [self._resolved(a, names) for a in alternatives or () if not _is_null(a)]
        if real and all(_is_object(a) for a in real):
            return self._plain(self._merged({**schema, "type": "object"}, names, 0, real), names, (), 0)
        return self.node(schema, {}, (), 0)

    def node(self, schema: Any, names: Schema, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        """Converts one node. `names` are the definitions in scope, and `within` the references leading here, to detect
        cycles.
        """
        self._count(depth)
        if not isinstance(schema, dict):
            return {"type": "object"}  # `true` allows anything
        names = {**names, **_object(schema, "definitions"), **_object(schema, "$defs")} if _defines(schema) else names
        reference = schema.get("$ref")
        if isinstance(reference, str):
            found = self._target(reference, names)
            if reference in within or found is None:
                return {"type": "object"}
            made = self.node(found, names, (*within, reference), depth + 1)
            return _described(made, schema)
        alternatives = _alternatives(schema)
        if isinstance(schema.get("properties"), dict) and schema["properties"] and any(c in schema for c in _COMBINED):
            made = self._plain(self._merged(schema, names, depth), names, within, depth)
            return {**made, "nullable": True} if any(map(_is_null, alternatives or ())) else made
        if alternatives is not None:
            return self._any_of(schema, alternatives, names, within, depth)
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self._plain(self._merged(schema, names, depth), names, within, depth)
        return self._plain(schema, names, within, depth)

    def _any_of(
        self, schema: Schema, alternatives: list[Any], names: Schema, within: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        """Gemini allows nothing next to `anyOf`, so the title and description move into each alternative."""
        shared = {} if isinstance(schema.get("type"), list) else {n: schema[n] for n in _INHERITED if n in schema}
        real = [a for a in alternatives if not _is_null(a)]
        real = [{**shared, **a} if isinstance(a, dict) and not _says_type(a) else a for a in real]
        cleaned = [self.node(a, names, within, depth + 1) for a in real] or [{"type": "string"}]
        for part in cleaned:
            if len(real) < len(alternatives):
                part["nullable"] = True
            part.update({name: schema[name] for name in ("title", "description") if schema.get(name)})
        return {"anyOf": cleaned}

    def _merged(self, schema: Schema, names: Schema, depth: int, listed: list[Schema] | None = None) -> dict[str, Any]:
        """Merges the parts into one object with all of their properties.

        Of several alternatives, only the properties that each of them requires remain required. `listed` contains the
        parts if they are already resolved.
        """
        self._count(depth)
        made = {name: value for name, value in schema.items() if name not in _COMBINED}
        properties = dict(_object(schema, "properties"))
        required = list(_names(schema))
        for keyword in _COMBINED:
            parts = schema.get(keyword)
            if not isinstance(parts, list):
                continue
            found = [self._resolved(p, names) for p in parts if isinstance(p, dict) and not _is_null(p)]
            found = [self._merged(p, names, depth + 1) if any(c in p for c in _COMBINED) else p for p in found]
            for part in found:
                properties = {**_object(part, "properties"), **properties}
                made = {**{n: v for n, v in part.items() if keyword == "allOf"}, **made}
            required += _required_by(found, all_of=keyword == "allOf")
        for part in listed or () if not any(keyword in schema for keyword in _COMBINED) else ():
            properties = {**_object(part, "properties"), **properties}
            required += _names(part)
        if properties:
            made |= {"type": "object", "properties": properties, "required": list(dict.fromkeys(required))}
        return made

    def _resolved(self, schema: Any, names: Schema) -> Schema:
        """Follows a chain of references."""
        for _ in range(_MOST_REFERENCES):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str):
                break
            schema = self._target(reference, names)
        return schema if isinstance(schema, dict) else {}

    def _target(self, reference: str, names: Schema) -> Any:
        """The target of a reference: a definition by name, or a JSON pointer into the whole schema. None if it does not
        exist.
        """
        name = reference.rsplit("/", 1)[-1]
        if name in names:
            return names[name]
        found: Any = self._whole
        for part in reference.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found if reference.startswith("#/") else None

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise Unsupported(
                "tools", "A tool's schema is nested too deeply or too large once its references are resolved."
            )

    def _plain(self, schema: Schema, names: Schema, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        result = {name: value for name, value in schema.items() if name in _KEPT}
        if schema.get("format") in _FORMATS:
            result["format"] = schema["format"]
        kind = schema.get("type")
        properties = schema.get("properties")
        allowed = _allowed(schema)
        values = [v for v in allowed if isinstance(v, str) and v]
        if isinstance(properties, dict) and properties:
            kind = "object"
            result["properties"] = {n: self.node(p, names, within, depth + 1) for n, p in properties.items()}
            required = [name for name in _names(schema) if name in properties]
            if required or "required" in schema:
                result["required"] = required
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        items = schema.get("items") or schema.get("prefixItems")
        if not isinstance(kind, str):
            kind = "array" if items else _kind_of(allowed)
        if kind.lower() == "string" and values:
            result["enum"] = values
            if None in allowed:
                result["nullable"] = True
        if items or kind.lower() == "array":
            # The items of a tuple have different types, but Gemini allows only one type for all.
            of_all = ({"anyOf": items} if len(items) > 1 else items[0]) if isinstance(items, list) and items else items
            result["items"] = self.node(of_all or {}, names, within, depth + 1)
        return {"type": kind, **result}


def _defines(schema: Schema) -> bool:
    return "$defs" in schema or "definitions" in schema


def _object(schema: Schema, name: str) -> Schema:
    value = schema.get(name)
    return value if isinstance(value, dict) else {}


def _names(schema: Schema) -> list[str]:
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _required_by(parts: list[Schema], *, all_of: bool) -> list[str]:
    """The required properties. For alternatives, those required by all of them."""
    named = [_names(part) for part in parts]
    if all_of or len(named) == 1:
        return [name for names in named for name in names]
    return [name for name in named[0] if all(name in names for names in named)] if named else []


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object" or "properties" in schema or ("required" in schema and "type" not in schema)


def _says_type(schema: Schema) -> bool:
    return any(name in schema for name in ("type", "$ref", "properties", *_COMBINED))


def _described(made: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Adds the title and description next to a reference."""
    more = {name: schema[name] for name in ("title", "description") if isinstance(schema.get(name), str)}
    if not more:
        return made
    if "anyOf" in made:
        return {"anyOf": [{**part, **more} for part in made["anyOf"]]}
    return {**made, **more}


def _kind_of(values: list[Any]) -> str:
    """The type of the allowed values."""
    first = next((v for v in values if v is not None and v != ""), None)
    if isinstance(first, bool):
        return "boolean"
    if isinstance(first, (int, float)):
        return "integer" if all(isinstance(v, int) for v in values if v is not None) else "number"
    return "string" if isinstance(first, str) else "object"


def _alternatives(schema: Schema) -> list[Any] | None:
    """The alternatives in `anyOf`, `oneOf` or a list of types, or None."""
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return schema[name]
    of_all = schema.get("allOf")
    if isinstance(of_all, list) and len(of_all) == 1:
        return of_all  # the common way to add a description to a reference
    kinds = schema.get("type")
    if not isinstance(kinds, list) or len(kinds) < 2:
        return None
    shared = {name: schema[name] for name in _OF_CONTAINERS if name in schema}
    values = {"enum": schema["enum"]} if "enum" in schema else {}
    return [{"type": k, **(shared if k in ("object", "array") else values if k == "string" else {})} for k in kinds]


def _allowed(schema: Schema) -> list[Any]:
    """The values of `enum` or `const`. Gemini accepts only non-empty strings."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else []


# Google's own tools, under LiteLLM's and Google's names.
_GOOGLES = {
    "googleSearch": "googleSearch", "google_search": "googleSearch",
    "googleSearchRetrieval": "googleSearchRetrieval", "google_search_retrieval": "googleSearchRetrieval",
    "enterpriseWebSearch": "enterpriseWebSearch", "enterprise_web_search": "enterpriseWebSearch",
    "urlContext": "urlContext", "url_context": "urlContext",
    "codeExecution": "codeExecution", "code_execution": "codeExecution",
}  # fmt: skip
# Google does not allow these together with functions. LiteLLM drops them as well.
_SEARCHES = frozenset(("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "urlContext"))
_WEB_SEARCH = frozenset(("web_search", "web_search_preview"))
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def tools(declared: list[Any], *, web_search: bool) -> list[dict[str, Any]]:
    """Translates the tools. `web_search` means that the request has `web_search_options`. Raises Unsupported."""
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
    """Translates `tool_choice` to `toolConfig`."""
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
    """One of Google's own tools, which contains only its name and possibly a type.

    A tool of type `function` never counts as one: the budget treats it as a function, and Google's own tools are not
    free.
    """
    named = [name for name in tool if name != "type"]
    if len(named) == 1 and named[0] in _GOOGLES and tool.get("type") not in ("function", "custom"):
        return _GOOGLES[named[0]], tool[named[0]] or {}
    raise Unsupported("tools", f"This model does not support tools of type {tool.get('type')!r}.")

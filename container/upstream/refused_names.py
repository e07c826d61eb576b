"""Whether a provider's refusal is of a field's name, rather than of its value.

Servers have no common code for it. The wordings are those of OpenAI and Azure, vLLM and FastAPI (pydantic), Mistral,
Groq, Cerebras, Together, Fireworks, llama.cpp, SGLang, TGI and of Go's and Rust's JSON decoders.
"""

import re

from ..routing.outcome import Outcome

_OF_NAMES = frozenset("unsupported_parameter unknown_parameter extra_forbidden unknown_field wrong_api_format".split())
_OF_VALUES = frozenset(
    "unsupported_value invalid_value invalid_type integer_above_max_value integer_below_min_value "
    "decimal_above_max_value decimal_below_min_value context_length_exceeded string_above_max_length".split()
)
# What is said of a value: a name that is not known has none that would be wrong.
_VALUE = re.compile(
    r"too (?:large|big|high|long|small|low|many)|at (?:most|least)|maximum|minimum|exceed|greater|larger than|less than"
    r"|smaller than|between|range|must be|should be|has to be|above|below|positive|integer|up to|value of"
)
_UNKNOWN = (
    r"(?:unrecogni[sz]ed|unknown|unsupported(?! value)|unexpected|extra|additional|undefined|unpermitted"
    r"|invalid (?:field|parameter|argument|property|key|name)s?)\b"
)
_NOT_TAKEN = (
    r"(?:not (?:supported|permitted|allowed|recogni[sz]ed|known|accepted|available|a valid|valid)|unsupported"
    r"|unexpected|unknown|unrecogni[sz]ed|no longer|deprecated|extra (?:inputs|fields))"
)
_GAP = r"[^.;\d]{0,60}?"


def refuses_name(refusal: Outcome, name: str, instead: str = "") -> bool:
    """Whether the refusal says that `name` is not known. `instead`: the name by which the provider may know it."""
    param, code = refusal.param or "", refusal.code or ""
    if code in _OF_VALUES or (param and not _is(param, name)):
        return False
    if param and code in _OF_NAMES:
        return True
    said = refusal.message.lower()
    # Azure writes `MaxTokens`.
    name, instead = (each.replace("_", "_?") for each in (name, instead))
    here = rf"(?<![\w.-])(?:body\.|\$\.)?{name}(?![\w-])"
    if not re.search(here, said):
        return False
    if instead and re.search(rf"\b{instead}\b\W{{0,4}} instead|(?:use|mean)\W+{instead}\b", said):
        return True
    if not re.search(rf"{_UNKNOWN}{_GAP}{here}|{here}{_GAP}{_NOT_TAKEN}", said):
        return False
    return code in _OF_NAMES or not (_VALUE.search(said) or re.search(rf"{here}\W{{0,4}}\d", said))


def _is(param: str, name: str) -> bool:
    """`max_tokens`, `body.max_tokens`, `["max_tokens"]`."""
    return re.split(r"[.\[\]\"' ]+", param.strip(".[]\"' "))[-1] == name

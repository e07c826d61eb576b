"""Everything that is measured, in the order of the tables."""

from .base import Gateway
from .limits import Direct, Minimal
from .litellm import LiteLLM
from .other import CHECKOUT, Other, OtherLimited
from .ours import (
    Ours,
    OursAccounts,
    OursClaude,
    OursFourWorkers,
    OursGemini,
    OursLimited,
    OursResponses,
    OursResponsesClaude,
    OursTwoWorkers,
)
from .portkey import PortkeyNode, PortkeyWorkerd
from .tensorzero import TensorZero
from .worker import Worker

ALL: dict[str, type[Gateway]] = {
    one.name: one
    for one in (Direct, Minimal, Ours, OursLimited, Worker, TensorZero, PortkeyWorkerd, PortkeyNode, LiteLLM)
}
# Measured when `--only` names them: the same gateway, with another wire format on one side or both.
ON_REQUEST: dict[str, type[Gateway]] = {
    one.name: one
    for one in (
        OursAccounts,
        OursTwoWorkers,
        OursFourWorkers,
        OursGemini,
        OursClaude,
        OursResponses,
        OursResponsesClaude,
    )
}
ALL |= ON_REQUEST
if CHECKOUT:
    ALL |= {one.name: one for one in (Other, OtherLimited)}

__all__ = ["ALL", "ON_REQUEST", "Gateway"]

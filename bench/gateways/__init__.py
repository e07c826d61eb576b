"""Everything that is measured, in the order of the tables."""

from .base import Gateway
from .limits import Direct, Minimal
from .litellm import LiteLLM
from .other import CHECKOUT, Other
from .ours import Ours
from .portkey import PortkeyNode, PortkeyWorkerd
from .tensorzero import TensorZero
from .worker import Worker

ALL: dict[str, type[Gateway]] = {
    one.name: one for one in (Direct, Minimal, Ours, Worker, TensorZero, PortkeyWorkerd, PortkeyNode, LiteLLM)
}
if CHECKOUT:
    ALL[Other.name] = Other

__all__ = ["ALL", "Gateway"]

"""The same generated requests in every run, without constants from our own sources."""

from tests.same_examples import no_constants_of_other_modules

__all__ = ["no_constants_of_other_modules"]

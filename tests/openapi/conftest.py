"""The same requests in every run, without the names of fields that are in our sources."""

from tests.same_examples import no_constants_of_other_modules

__all__ = ["no_constants_of_other_modules"]

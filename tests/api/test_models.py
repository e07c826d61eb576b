"""Which models are available with the variables that are set."""

import pytest

from worker.core.api.health import missing, models_on


@pytest.mark.parametrize(
    ("needs", "is_set", "unmet"),
    [
        ([], set(), []),
        (["A"], {"A"}, []),
        (["A"], set(), ["A"]),
        (["A", "B", "C"], {"B"}, ["A", "C"]),
        (["A|B"], {"A"}, []),
        (["A|B"], {"B"}, []),
        (["A|B"], {"C"}, ["A|B"]),
        (["A|B", "C"], {"B"}, ["C"]),
    ],
)
def test_missing_variables(needs, is_set, unmet):
    assert missing(needs, is_set.__contains__) == unmet


def test_a_model_is_enabled_if_one_of_its_deployments_is():
    models = {"a": [["A"], ["B", "C"]], "b": [["B|X"]], "free": [[]], "never": []}
    assert models_on(models, set().__contains__) == ["free"]
    assert models_on(models, {"A"}.__contains__) == ["a", "free"]
    assert models_on(models, {"B", "C"}.__contains__) == ["a", "b", "free"]
    assert models_on(models, {"X"}.__contains__) == ["b", "free"]

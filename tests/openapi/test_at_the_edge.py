"""The edge against the OpenAPI document, with fewer calls because each is slower in workerd."""

import pytest

from tests.edge.conftest import MASTER_KEY, Edge, StartEdge, start_module_edge
from tests.openapi.judge import Judge
from tests.openapi.test_standalone import MANY_WRONG_KEYS, OPEN_ENDED, OPERATIONS, THOROUGH
from worker.core import openapi

__all__ = ["start_module_edge"]

EXAMPLES = 16 if THOROUGH else 6


@pytest.fixture(scope="module")
def behind_the_edge(start_module_edge: StartEdge) -> Edge:
    mock = {"model": "openai/mock", "mock_response": "Hello!"}
    return start_module_edge(
        {"model_list": [{"model_name": "mock", "litellm_params": mock}]}, vars=MANY_WRONG_KEYS, local=False
    )


@pytest.fixture(scope="module")
def judge(behind_the_edge: Edge) -> Judge:
    return Judge(f"{behind_the_edge.url}/v1", {"authorization": f"Bearer {MASTER_KEY}"})


@pytest.mark.parametrize("name", OPERATIONS)
def test_responses_conform_at_the_edge(judge: Judge, behind_the_edge: Edge, name: str):
    judge.judge(name, EXAMPLES, open_ended=name in OPEN_ENDED)
    assert not [line for line in behind_the_edge.lines if "edge_failed" in line or "internal_error" in line]


def test_the_document_is_the_same_as_standalone(behind_the_edge: Edge):
    assert behind_the_edge.client.get("/openapi.json").json() == openapi.document()

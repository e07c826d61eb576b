"""The container's environment and its fingerprint."""

from worker.core.configuration import container_environment, fingerprint

NAMES = ["OPENAI_API_KEY", "GROQ_API_KEY", "LITELLM_MASTER_KEY", "INTERNAL_TOKEN"]


def test_only_configured_variables_that_are_set_are_passed_on():
    worker = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "", "UNRELATED": "x"}
    assert container_environment(NAMES, worker.get) == {"OPENAI_API_KEY": "sk-1"}


def test_the_master_key_is_never_passed_on():
    worker = dict.fromkeys(NAMES, "secret")
    assert set(container_environment(NAMES, worker.get)) == {"OPENAI_API_KEY", "GROQ_API_KEY"}


def test_the_fingerprint_depends_on_the_environment_and_the_token():
    environment = {"A": "1", "B": "2"}
    first = fingerprint(environment, "token")
    assert first == fingerprint({"B": "2", "A": "1"}, "token")
    others = [
        fingerprint({"A": "1", "B": "3"}, "token"),
        fingerprint({"A": "1"}, "token"),
        fingerprint(environment, "other token"),
    ]
    assert len({first, *others}) == 4

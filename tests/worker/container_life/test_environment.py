from worker.core.container_environment import container_environment, fingerprint

NAMES = ["OPENAI_API_KEY", "GROQ_API_KEY", "LITELLM_MASTER_KEY", "INTERNAL_TOKEN"]


def test_only_what_is_configured_and_set():
    worker = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "", "UNRELATED": "x"}
    assert container_environment(NAMES, worker.get) == {"OPENAI_API_KEY": "sk-1"}


def test_the_key_to_the_gateway_never_enters():
    worker = dict.fromkeys(NAMES, "secret")
    assert set(container_environment(NAMES, worker.get)) == {"OPENAI_API_KEY", "GROQ_API_KEY"}


def test_a_fingerprint_differs_when_the_environment_or_the_token_does():
    environment = {"A": "1", "B": "2"}
    first = fingerprint(environment, "token")
    assert first == fingerprint({"B": "2", "A": "1"}, "token")
    others = [
        fingerprint({"A": "1", "B": "3"}, "token"),
        fingerprint({"A": "1"}, "token"),
        fingerprint(environment, "other token"),
    ]
    assert len({first, *others}) == 4

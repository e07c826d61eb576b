"""general_settings.virtual_keys: parsing, validation and secrecy."""

from datetime import date

import pytest

from container.config.load import Options
from worker.core.ledger.keys import hash_secret

MODELS = [
    {"model_name": name, "litellm_params": {"model": "openai/x", "mock_response": "hi"}} for name in ("gpt", "free/*")
]
SECRET = "sk-secret-of-the-bot"
BOT = {"key": "os.environ/BOT_KEY", "key_alias": "bot"}


def content(*keys: object, **general: object) -> dict:
    return {"model_list": MODELS, "general_settings": {**general, "virtual_keys": list(keys)}}


@pytest.fixture
def read(load_config):
    def options(*keys: object, **environment: str) -> Options:
        return load_config(content(*keys), environment).options

    return options


@pytest.fixture
def refused(complaints):
    def said(*keys: object) -> str:
        [line] = complaints(
            content(*keys), {"BOT_KEY": SECRET, "BAD_KEY": "no prefix", "LITELLM_MASTER_KEY": "sk-master"}
        )
        assert SECRET not in line
        return line

    return said


def test_key_has_the_fields_of_key_generate_and_a_secret_from_the_environment(read):
    [key] = read({**BOT, "models": ["gpt"], "max_budget": 5, "budget_duration": "1d"}, BOT_KEY=SECRET).virtual_keys
    assert (key.variable, key.fields["max_budget"]) == ("BOT_KEY", 5)
    assert key.held.hash == hash_secret(SECRET)
    assert (key.held.alias, key.held.columns["max_budget"]) == ("bot", 5 * 10**9)


def test_secret_is_not_in_the_repr(read):
    options = read(BOT, {"key": "sk-in-the-file", "metadata": {"a": "b"}}, BOT_KEY=SECRET)
    assert SECRET not in repr(options)
    assert "sk-in-the-file" not in repr(options)
    assert hash_secret(SECRET) not in repr(options)


def test_declared_key_requires_a_ledger(read):
    assert read(BOT).needs_ledger
    assert not read().needs_ledger


def test_unset_variable_causes_a_warning(load_config):
    config = load_config(content(BOT), {})
    [key], [warning] = config.options.virtual_keys, config.problems
    assert key.held is None
    assert "general_settings.virtual_keys[0].key: warning: BOT_KEY is not set, so this key does not work" in str(
        warning
    )


def test_unset_variable_behind_the_edge_causes_no_warning(load_config):
    config = load_config(content(BOT), {"INTERNAL_TOKEN": "of-the-edge"})
    assert config.options.virtual_keys[0].held is None
    assert config.problems == ()
    assert load_config(content(BOT), {"INTERNAL_TOKEN": " "}).problems, "it stands alone"


def test_secret_in_the_file_causes_a_warning_without_its_value(load_config):
    [warning] = load_config(content({"key": SECRET}), {}).problems
    assert "warning: is a secret that stands in the file. Write `key: os.environ/NAME`" in str(warning)
    assert SECRET not in str(warning)


@pytest.mark.parametrize(("models", "said"), [(["gpts"], "Did you mean `gpt`?"), (["nonesuch"], "'nonesuch' is not")])
def test_unknown_model_causes_a_warning(load_config, models, said):
    [warning] = load_config(content({**BOT, "models": models}), {"BOT_KEY": SECRET}).problems
    assert warning.level == "warning"
    assert said in str(warning)


def test_models_may_be_aliases_wildcards_and_patterns(load_config):
    keys = content({**BOT, "models": ["gpt", "fast", "free/x", "gp*", "all-proxy-models"]})
    keys["router_settings"] = {"model_group_alias": {"fast": "gpt"}}
    assert load_config(keys, {"BOT_KEY": SECRET}).problems == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["sk-text"], "[0]: error: has to be a mapping"),
        ([{"key_alias": "bot"}], "[0].key: error: is missing. Write `key: os.environ/NAME`"),
        ([{"key": "os.environ/"}], "[0].key: error: is missing."),
        ([{"key": 5}], "[0].key: error: is missing."),
        ([{"key": "os.environ/BAD_KEY"}], "[0].key: error: 'key' has to be 'sk-' and 5 to 253"),
        ([{"key": "secret"}], "[0].key: error: 'key' has to be 'sk-' and 5 to 253"),
        ([{**BOT, "max_budget": "lots"}], "[0].max_budget: error: 'max_budget' has to be US dollars"),
        ([{**BOT, "max_bugdet": 5}], "knows. Did you mean `max_budget`?"),
        ([{**BOT, "metadata": {"since": date(2026, 1, 1)}}], "[0]: error: holds a value that is not"),
        ([{"key": "os.environ/LITELLM_MASTER_KEY"}], "[0].key: error: is the master key"),
        ([BOT, {**BOT, "key": "os.environ/OTHER"}], "[1].key_alias: error: 'bot' is that of virtual_keys[0], too."),
        ([BOT, {"key": "os.environ/BOT_KEY"}], "[1].key: error: BOT_KEY is that of virtual_keys[0], too."),
        ([BOT, {"key": SECRET}], "[1].key: error: this secret is that of virtual_keys[0], too."),
    ],
)  # fmt: skip
def test_invalid_key_stops_the_start(refused, keys, said):
    line = refused(*keys)
    assert ": general_settings.virtual_keys[" in line
    assert said in line


def test_declared_key_must_differ_from_the_active_master_key(complaints):
    """The environment's master key overrides the file's."""
    found = {"model_list": MODELS, "general_settings": {"virtual_keys": [BOT], "master_key": "sk-of-the-file"}}
    [line] = complaints(found, {"BOT_KEY": SECRET, "LITELLM_MASTER_KEY": SECRET})
    assert "[0].key: error: is the master key" in line


def test_keys_must_be_a_list(complaints):
    [line] = complaints({"model_list": MODELS, "general_settings": {"virtual_keys": {"bot": "x"}}})
    assert "virtual_keys: error: has to be a list." in line

"""The proxy's environment variables."""

import pytest

from container.http_client.request import Place
from container.server.settings import VARIABLES, SettingsError, read


def test_defaults():
    found = read({})
    assert (found.host, found.port, found.log_level) == ("127.0.0.1", 4000, "INFO")
    assert (found.max_body_mb, found.stream_keepalive, found.engine_start_timeout) == (32.0, 5.0, 60.0)
    assert (found.shutdown_grace, found.connect_timeout) == (30.0, 5.0)
    assert (found.master_key, found.internal_token, found.cors_allow_origins, found.public_models) == (None,) * 4
    assert (found.local_development, found.allow_anonymous) == (False, False)


@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_variable_counts_as_unset(blank):
    assert read({v.name: blank for v in VARIABLES}) == read({})


def test_set_variables_are_read():
    given = {
        "LITELLM_HOST": "::",
        "PORT": "1",
        "LITELLM_MASTER_KEY": "sk-1",
        "INTERNAL_TOKEN": "t",
        "LITELLM_LOG_LEVEL": "debug",
        "MAX_BODY_MB": "0.5",
        "STREAM_KEEPALIVE": "1",
        "ENGINE_START_TIMEOUT": "2",
        "SHUTDOWN_GRACE": "3",
        "CONNECT_TIMEOUT": "4",
        "CORS_ALLOW_ORIGINS": "*",
        "PUBLIC_MODELS": "true",
        "LOCAL_DEVELOPMENT": "1",
        "ALLOW_ANONYMOUS": "yes",
    }
    assert given.keys() <= {v.name for v in VARIABLES}
    found = read(given)
    assert (found.host, found.port, found.master_key, found.internal_token) == ("::", 1, "sk-1", "t")
    assert (found.log_level, found.max_body_mb, found.cors_allow_origins) == ("DEBUG", 0.5, ("*",))
    assert (found.stream_keepalive, found.engine_start_timeout) == (1.0, 2.0)
    assert (found.shutdown_grace, found.connect_timeout) == (3.0, 4.0)
    assert (found.public_models, found.local_development, found.allow_anonymous) == (True, True, True)


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({"LITELLM_PORT": "5001", "PORT": "5002"}, 5001),
        ({"PORT": "5002"}, 5002),
        ({"LITELLM_PORT": "", "PORT": "5002"}, 5002),
        ({"LITELLM_PORT": "0", "PORT": "5002"}, 0),
    ],
)
def test_litellm_port_overrides_port(environment, port):
    assert read(environment).port == port


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("on", True),
        ("false", False),
        ("No", False),
        ("0", False),
        ("off", False),
    ],
)
def test_flag_accepts_many_spellings(text, flag):
    assert read({"PUBLIC_MODELS": text}).public_models is flag


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("LITELLM_PORT", "80.5"),
        ("LITELLM_LOG_LEVEL", "loud"),
        ("MAX_BODY_MB", "0"),
        ("MAX_BODY_MB", "5000"),
        ("MAX_BODY_MB", "nan"),
        ("STREAM_KEEPALIVE", "0"),
        ("STREAM_KEEPALIVE", "-5"),
        ("STREAM_KEEPALIVE", "5s"),
        ("SHUTDOWN_GRACE", "inf"),
        ("CONNECT_TIMEOUT", "nan"),
        ("PUBLIC_MODELS", "perhaps"),
        ("ALLOW_ANONYMOUS", "2"),
        ("CORS_ALLOW_ORIGINS", "example.com"),
        ("CORS_ALLOW_ORIGINS", "https://a.example, https://b.example/path"),
        ("CORS_ALLOW_ORIGINS", ","),
        ("DEFAULT_MAX_OUTPUT", "1e3"),
    ],
)
def test_invalid_value_error_names_the_variable_and_a_valid_value(name, text):
    with pytest.raises(SettingsError) as caught:
        read({name: text})
    said = str(caught.value)
    assert said.startswith(f"{name}='{text}' cannot be used: ")
    assert "write " in said
    for word in ("could not convert", "invalid literal", "float", "int()"):
        assert word not in said


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({}, None),
        ({"NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://upper:1"}, "upper"),
        ({"https_proxy": "http://lower:1"}, "lower"),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"}, "lower"),
        ({"HTTPS_PROXY": "http://upper:1", "no_proxy": "api.example"}, None),
        ({"HTTPS_PROXY": "http://upper:1", "NO_PROXY": "api.example"}, None),
        ({"HTTP_PROXY": "http://upper:1"}, None),
    ],
)
def test_proxies_are_read_in_both_spellings(environment, host):
    found = read(environment).proxies
    used = found.of(Place(True, "api.example", 443)) if found else None
    assert (used.place.host if used else None) == host


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("https_proxy", "socks5://user:s3cret@proxy:1080"),
        ("HTTP_PROXY", "http://user:s3cret@proxy:port"),
        ("REDIS_URL", "localhost:s3cret"),
        ("REDIS_URL", "http://:s3cret@cache"),
        ("REDIS_URL", "redis://:s3cret@"),
        ("REDIS_URL", "redis://:s3cret@cache:port"),
        ("DATABASE_URL", "mysql://user:s3cret@db/ledger"),
        ("DATABASE_URL", "sqlite:///s3cret.db"),
        ("ALERT_WEBHOOK_URL", "hooks.example/s3cret"),
        ("ALERT_WEBHOOK_URL", "https:///s3cret"),
    ],
)
def test_value_that_may_be_a_secret_is_not_repeated(name, text):
    with pytest.raises(SettingsError) as caught:
        read({name: text})
    assert str(caught.value).startswith(f"{name} cannot be used: write ")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REDIS_URL", "redis://cache"),
        ("REDIS_URL", "rediss://user:pass@cache:6380/1"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("DATABASE_URL", "postgres://user@[::1]:5432/ledger"),
        ("DATABASE_URL", "postgresql:///ledger?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://u:p@one:5432,two:5433/ledger?target_session_attrs=primary"),
        ("CORS_ALLOW_ORIGINS", "https://a.example, http://localhost:3000/, chrome-extension://abcdef"),
        ("MAX_BODY_MB", ".5"),
        ("STREAM_KEEPALIVE", "1e1"),
    ],
)
def test_address_accepts_many_forms(name, text):
    read({name: text})


def test_every_problem_is_reported_at_once():
    with pytest.raises(SettingsError) as caught:
        read({"PORT": "http", "MAX_BODY_MB": "lots", "SHUTDOWN_GRACE": "soon"})
    assert [problem.split("=")[0] for problem in caught.value.problems] == ["PORT", "MAX_BODY_MB", "SHUTDOWN_GRACE"]


def test_secrets_are_not_in_the_repr():
    assert "s3cret" not in repr(read({"LITELLM_MASTER_KEY": "s3cret-1", "INTERNAL_TOKEN": "s3cret-2"}))


def test_edge_passes_on_no_secret_and_no_address_of_its_own():
    handed_on = {v.name for v in VARIABLES if v.edge}
    assert not handed_on & {
        "LITELLM_MASTER_KEY",
        "INTERNAL_TOKEN",
        "LITELLM_HOST",
        "LITELLM_PORT",
        "PORT",
        "CORS_ALLOW_ORIGINS",
        "PUBLIC_MODELS",
        "LOCAL_DEVELOPMENT",
    }

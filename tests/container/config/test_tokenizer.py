"""The tokenizer assumed for a deployment: OpenAI's by model name, and the largest one for unknown models."""

from pathlib import Path
from typing import Any

import pytest
import tiktoken.model

from container.accounting.reservation import PriceBook
from container.config.deployment import price_map, tokenizer
from container.config.load import load
from container.config.providers import split_model
from container.proxy.catalog import catalog
from container.routing.router import Router
from worker.core.pricing import prices
from worker.core.pricing.estimate import CL100K, LARGEST, O200K, WEIGHTS


def known(tmp_path: Path, model: str, asked: str | None = None, **more: Any) -> str:
    lines = [f"    {name}: {value}" for name, value in more.pop("info", {}).items()]
    params = "".join(f", {name}: {value}" for name, value in more.items())
    text = f"model_list:\n- model_name: m\n  litellm_params: {{model: '{model}'{params}}}\n"
    file = tmp_path / "config.yaml"
    file.write_text(text + ("  model_info:\n" + "\n".join(lines) + "\n" if lines else ""))
    deployment = load(file, {}).deployments[0]
    return tokenizer(deployment, asked or deployment.model)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-4o", O200K),
        ("gpt-4.1-mini", O200K),
        ("openai/gpt-5.1", O200K),
        ("openai/o3-mini", O200K),
        ("openai/ft:gpt-4o-mini-2024-07-18:team::id", O200K),
        ("openrouter/openai/gpt-4o-mini", O200K),
        ("openrouter/openai/gpt-oss-20b:free", O200K),
        ("groq/openai/gpt-oss-20b", O200K),
        ("bedrock/openai.gpt-oss-120b-1:0", O200K),
        ("openai/gpt-4", CL100K),
        ("openai/gpt-4-turbo", CL100K),
        ("openai/gpt-3.5-turbo-0125", CL100K),
        ("openai/text-embedding-3-small", CL100K),
        ("openai/gpt-6-sol", LARGEST),
        ("openai/gpt-40b", LARGEST),
        ("openai/my-model", LARGEST),
        ("anthropic/claude-sonnet-4-6", LARGEST),
        ("gemini/gemini-2.5-pro", LARGEST),
        ("gemini/text-embedding-004", LARGEST),
        ("openrouter/somebody/gpt-4o-distilled", LARGEST),
        ("groq/gpt-4", LARGEST),
        ("openrouter/*", LARGEST),
    ],
)
def test_model_name_selects_the_tokenizer(tmp_path: Path, model: str, name: str) -> None:
    assert known(tmp_path, model) == name


def test_wildcard_uses_the_requested_model(tmp_path: Path) -> None:
    assert known(tmp_path, "openrouter/*", "openai/gpt-4o") == O200K
    assert known(tmp_path, "openrouter/*", "deepseek/deepseek-chat") == LARGEST


def test_name_is_ignored_at_a_custom_address(tmp_path: Path) -> None:
    assert known(tmp_path, "openai/gpt-4", api_base="https://x.example/v1") == LARGEST
    assert known(tmp_path, "openai/gpt-4", api_base="https://api.openai.com/v1") == CL100K
    assert known(tmp_path, "openai/gpt-4", api_base="os.environ/SOMEWHERE") == LARGEST


def test_base_model_takes_precedence(tmp_path: Path) -> None:
    assert known(tmp_path, "azure/our-chat", api_base="https://x.example", info={"base_model": "azure/gpt-4o"}) == O200K
    assert known(tmp_path, "openai/gpt-4", api_base="https://x.example", info={"base_model": "gpt-4o"}) == O200K
    assert known(tmp_path, "openai/gpt-4o", info={"base_model": "some/llama"}) == LARGEST


def test_tiktoken_agrees_on_every_name_in_the_price_map(tmp_path: Path) -> None:
    """tiktoken must know every name that we recognize. It maps fine-tuned gpt-4.1 and 4.5 to gpt-4 by prefix."""
    found = 0
    file = tmp_path / "config.yaml"
    names = [name for name in price_map() if split_model(name, frozenset())[0] in ("openai", "azure")]
    entries = "".join(f"- model_name: 'm{i}'\n  litellm_params: {{model: '{n}'}}\n" for i, n in enumerate(names))
    file.write_text("model_list:\n" + entries)
    for deployment in load(file, {}).deployments:
        mine = tokenizer(deployment, deployment.model)
        if mine == LARGEST:
            continue
        found += 1
        name = deployment.model.rsplit("/", 1)[-1].removeprefix("ft:")
        theirs = tiktoken.model.encoding_name_for_model(name)
        assert theirs.split("_")[0] == mine, deployment.model
    assert found > 100


def test_price_book_and_catalog_include_the_tokenizer(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "model_list:\n"
        "- {model_name: a, litellm_params: {model: openai/gpt-4o}}\n"
        "- {model_name: b, litellm_params: {model: anthropic/claude-sonnet-4-6}}\n"
        "- {model_name: c, litellm_params: {model: openai/gpt-4}}\n"
        "router_settings: {fallbacks: [{a: [b]}, {b: [c]}]}\n"
    )
    config = load(file, {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x"})
    router = Router(config)
    price_book = PriceBook(config, router, default_max_output=1)
    assert [prices.tokenizer(price_book.price(router.groups.targets(name)[0])) for name in "abc"] == [
        O200K,
        LARGEST,
        CL100K,
    ]
    edge = catalog(config)
    reached = {
        name: [prices.tokenizer(edge["deployments"][i]["price"]) for i in indices]
        for name, indices in edge["reach"].items()
    }
    assert reached["a"][0] == O200K
    assert LARGEST in reached["a"]
    assert reached["c"] == [CL100K]
    assert all(name in WEIGHTS for names in reached.values() for name in names)

"""docs/costs-cloudflare.md: its results follow from its inputs, and its inputs are the measured ones."""

import json
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.ledger.conftest import durable_objects
from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.support import Ledger
from tests.processes import ROOT
from worker.core.ledger.settle import Report

PAGE = (ROOT / "docs" / "costs-cloudflare.md").read_text()
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()
MILLION = 1_000_000
PLAN = 5
Table = dict[str, list[str]]

__all__ = ["durable_objects"]


def table(text: str, heading: str) -> Table:
    """The rows of the first table below a heading, by their first cell."""
    lines = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name: cells for name, *cells in rows[2:]}


def number(cell: str) -> Decimal:
    return Decimal(cell.replace(",", ""))


def shown(value: Decimal, like: str) -> str:
    """The value with as many decimals as the cell has."""
    return f"{value.quantize(Decimal(10) ** -len(like.partition('.')[2]), ROUND_HALF_UP):f}"


PRICES = {name: number(cells[0]) / number(cells[1]) for name, cells in table(PAGE, "Prices").items()}
INCLUDED = {name: number(cells[2]) for name, cells in table(PAGE, "Prices").items()}
KINDS = ("plain, busy", "plain, alone", "stream")
USES = {
    kind: {name: number(cells[i]) for name, cells in table(PAGE, "What one request uses").items()}
    for i, kind in enumerate(KINDS)
}
HOUR = {name: number(cells[0]) for name, cells in table(PAGE, "An hour awake").items() if name != "together"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_million_requests(kind: str):
    column = KINDS.index(kind)
    rows = table(PAGE, "A million requests")
    parts = {name: USES[kind][name] * MILLION * PRICES[name] for name in USES[kind]}
    assert {name: cells[column] for name, cells in rows.items()} == {
        **{name: shown(part, rows[name][column]) for name, part in parts.items()},
        "together": shown(sum(parts.values(), Decimal(0)), rows["together"][column]),
    }


def test_an_hour_awake():
    rows = table(PAGE, "An hour awake")
    parts = {name: used * PRICES[name] for name, used in HOUR.items()}
    assert {name: cells[1] for name, cells in rows.items()} == {
        **{name: shown(part, rows[name][1]) for name, part in parts.items()},
        "together": shown(sum(parts.values(), Decimal(0)), rows["together"][1]),
    }
    assert f"${shown(730 * sum(parts.values(), Decimal(0)), '0.00')}" in PAGE


def test_a_month():
    rows = table(PAGE, "A month")
    assert len(rows) > 3
    for name, (hours, total) in rows.items():
        count = number(name.split()[0])
        kind = "stream" if "streams" in name else f"plain, {name.split(', ')[1]}"
        used = {what: count * each for what, each in USES[kind].items()}
        used |= {what: number(hours) * each for what, each in HOUR.items()}
        exceeds = sum((max(Decimal(0), used[what] - INCLUDED[what]) * PRICES[what] for what in used), Decimal(0))
        assert total == shown(PLAN + exceeds, total), name


def test_the_summary():
    cost, hour = USES["plain, busy"], sum(HOUR[name] * PRICES[name] for name in HOUR)
    million = sum(cost[name] * MILLION * PRICES[name] for name in cost)
    assert f"about ${shown(million, '0.00')} for a million" in PAGE
    assert 0.88 < cost["rows written"] * MILLION * PRICES["rows written"] / million < 0.96
    assert f"{hour * 100:.1f} cents for each hour" in " ".join(PAGE.split())


def test_cpu_is_the_measured_one():
    rows = PERFORMANCE.split("## What each hop of the edge costs")[1].split("\n## ")[0].splitlines()
    hops = {
        (workload, connections): cells
        for workload, connections, *cells in ([c.strip() for c in r.strip("|").split("|")] for r in rows if "|" in r)
    }
    for kind, row in (("plain, busy", ("plain", "16")), ("plain, alone", ("plain", "1")), ("stream", ("stream", "16"))):
        workerd, proxy, _ = hops[row]
        assert USES[kind]["Worker CPU, ms"] == Decimal(workerd)
        assert USES[kind]["container CPU, vCPU-s"] * 1000 == Decimal(proxy)


def test_the_container_is_the_one_that_is_deployed():
    text = re.sub(r"^\s*//.*$", "", (ROOT / "wrangler.jsonc").read_text(), flags=re.MULTILINE)
    assert {one["instance_type"] for one in json.loads(text)["containers"]} == {"basic"}
    assert "1 GiB" in (ROOT / "wrangler.jsonc").read_text()
    assert HOUR["container memory, GiB-s"] == 3600
    assert HOUR["container disk, GB-s"] == 4 * 3600
    assert HOUR["object duration, GB-s"] == Decimal("0.128") * 3600


async def test_rows_are_those_that_workerd_counts(durable_objects: DurableObjects):
    store = DurableStore(durable_objects.edge.url, durable_objects.new_name())
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key(max_budget=1, user_id="someone")
    first = (await ledger.admit(key, 1000))["reservation"]
    await store.rows()
    _, (second,) = await ledger.batch([Report(first, "one", 700)], [ledger.request(key, 1000)])
    busy = await store.rows()
    await ledger.settle(second["reservation"], 700)
    await store.rows()
    third = (await ledger.admit(key, 1000))["reservation"]
    await ledger.settle(third, 700)
    alone = await store.rows()
    await store.close()
    for kind, counted in (("plain, busy", busy), ("plain, alone", alone), ("stream", alone)):
        assert (USES[kind]["rows written"], USES[kind]["rows read"]) == counted, kind

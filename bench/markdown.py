"""The tables of a run, in Markdown: ratios first, then what they were made from."""

from collections.abc import Mapping, Sequence
from typing import Any

from .summary import REFERENCE, cpu, first_of, ratio, times, value
from .workload import WORKLOADS

Summary = Mapping[str, Any]


def report(summary: Summary) -> str:
    """All tables, each under a heading of the second level."""
    parts = [
        _ratios(summary),
        _latency(summary),
        _throughput(summary),
        _memory(summary),
        _hops(summary),
        _sweep(summary),
        _soak(summary),
        _features(summary),
        _details(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ratios(summary: Summary) -> str:
    measured = summary["plan"]["connections"]
    connections = first_of((16,), measured)
    workloads = summary["plan"]["workloads"]
    header = ["", *(f"{WORKLOADS[w].title}" for w in workloads)]
    against = summary["gateways"].get(REFERENCE)
    if against:
        header += [f"LiteLLM ÷ it, {w}" for w in workloads]
    rows = []
    for name, gateway in summary["gateways"].items():
        if name == "direct":
            continue
        mine = {w: cpu(summary, name, w, connections) for w in workloads}
        row = [f"**{gateway['title']}**" if name == "ours" else gateway["title"]]
        row += [_times(times(summary, name, w, connections), mine[w]) for w in workloads]
        if against:
            row += [_factor(ratio(cpu(summary, REFERENCE, w, connections), mine[w])) for w in workloads]
        rows.append(row)
    return (
        "## CPU per request\n\n"
        f"At {connections} connections; × is against the 40 lines of aiohttp, in brackets milliseconds of CPU. The "
        "columns on the right say how many times as much LiteLLM's proxy takes.\n\n" + _table(header, rows)
    )


def _latency(summary: Summary) -> str:
    measured = summary["plan"]["connections"]
    one = first_of((1,), measured)
    workloads = summary["plan"]["workloads"]
    columns = []
    if "plain" in workloads:
        columns += [("plain", "p50", "plain, p50"), ("plain", "p99", "plain, p99")]
    for name in ("stream", "paced"):
        if name in workloads:
            columns += [(name, "first_p50", f"{name}, first chunk p50"), (name, "p50", f"{name}, whole p50")]
    rows = []
    for name, gateway in summary["gateways"].items():
        row = [gateway["title"]]
        for workload, figure, _ in columns:
            mine = value(summary, name, workload, one, figure)
            direct = value(summary, "direct", workload, one, figure)
            if name != "direct" and mine is not None and direct is not None:
                row.append(f"+{max(0.0, mine - direct):.2f}")
            else:
                row.append(_number(mine))
        rows.append(row)
    text = "Milliseconds at one connection; with + what the gateway adds to the direct call of the same run."
    return f"## Latency\n\n{text}\n\n" + _table(["", *(title for _, _, title in columns)], rows)


def _throughput(summary: Summary) -> str:
    measured = summary["plan"]["connections"]
    workloads = [w for w in summary["plan"]["workloads"] if w != "paced"]
    header = ["", *(f"{w}, {c}" for w in workloads for c in measured), "errors"]
    rows = []
    for name, gateway in summary["gateways"].items():
        rates = [_count(value(summary, name, w, c, "rate")) for w in workloads for c in measured]
        errors = sum(cell["errors"] for cells in gateway["cells"].values() for cell in cells.values())
        rows.append([gateway["title"], *rates, str(errors)])
    return "## Requests per second\n\nBy workload and connections; errors over all workloads.\n\n" + _table(
        header, rows
    )


def _memory(summary: Summary) -> str:
    rows = []
    for gateway in summary["gateways"].values():
        if gateway["idle"] is None:
            continue
        idle, loaded = gateway["idle"], gateway["loaded"]
        figures = [_count(m[kind]) for m in (idle, loaded) for kind in ("rss", "pss")]
        rows.append([gateway["title"], f"{gateway['started']:.1f}", *figures])
    header = ["", "start to healthy, s", "RSS idle, MB", "PSS idle", "RSS after the load", "PSS after the load"]
    return "## Start and memory\n\nOf all processes together; PSS counts shared pages once.\n\n" + _table(header, rows)


def _hops(summary: Summary) -> str:
    gateway = summary["gateways"].get("worker")
    if not gateway:
        return ""
    rows = []
    for workload, cells in gateway["cells"].items():
        for connections, cell in cells.items():
            used = cell["cpu"]
            rest = used["total"] - sum(used[part] for part in gateway["parts"])
            rows.append([workload, connections, *(_number(used[p]) for p in gateway["parts"]), _number(rest)])
    header = ["", "connections", "workerd: Worker and Durable Object", "proxy", "stand-in for Cloudflare's network"]
    return "## What each hop of the edge costs\n\nMilliseconds of CPU per request.\n\n" + _table(header, rows)


def _sweep(summary: Summary) -> str:
    sweep = summary.get("sweep")
    if not sweep:
        return ""
    names = list(sweep)
    header = [
        "connections",
        *(f"{summary['gateways'][n]['title']}: {what}" for n in names for what in ("plain/s", "p99, ms", "streams/s")),
    ]
    rows = []
    for connections in sweep[names[0]]:
        row = [connections]
        for name in names:
            cell = sweep[name][connections]
            row += [_count(cell["plain"]["rate"]), _number(cell["plain"]["p99"]), _count(cell["stream"]["rate"])]
        rows.append(row)
    return "## From 1 to 256 connections\n\n" + _table(header, rows)


def _soak(summary: Summary) -> str:
    soak = summary.get("soak")
    if not soak:
        return ""
    rows = [[_count(point["requests"]), _number(point["rss"]), _count(point["rate"])] for point in soak["points"]]
    text = (
        f"{_count(soak['requests'])} requests over {soak['connections']} connections, every tenth a stream: "
        f"{soak['errors']} errors; memory grew by {soak['growth']:.1f} MB after the first tenth."
    )
    return f"## Memory over many requests\n\n{text}\n\n" + _table(["requests", "RSS, MB", "requests/s"], rows)


def _features(summary: Summary) -> str:
    rows = [[g["title"], g["version"], g["features"]] for g in summary["gateways"].values()]
    text = "## What was measured\n\n" + _table(["", "version", "for each request"], rows)
    for name, reason in summary["missing"].items():
        text += f"\n\nNot measured: {name}, because {' '.join(reason.split())[:300]}"
    return text


def _details(summary: Summary) -> str:
    rows = []
    for workload in summary["plan"]["workloads"]:
        for connections in summary["plan"]["connections"]:
            for name, gateway in summary["gateways"].items():
                cell = gateway["cells"][workload][str(connections)]
                figures = [_number(cell[k]) for k in ("p50", "p99", "first_p50", "first_p99")]
                used = _number(cpu(summary, name, workload, connections))
                rate = _count(cell["rate"])
                rows.append([workload, str(connections), gateway["title"], rate, *figures, used, str(cell["errors"])])
    header = ["", "connections", "", "requests/s", "p50", "p99", "first chunk p50", "p99", "CPU", "errors"]
    return "## Every figure\n\nMilliseconds; the median of the rounds.\n\n" + _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ["---", *("---:" if _numeric(rows, i) else "---" for i in range(1, len(header)))]
    lines = [header, alignment, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    return all(row[column][:1] in "+-–0123456789" for row in rows if column < len(row) and row[column])


def _number(value: float | None) -> str:
    """Three figures are enough."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else _count(value)


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def _factor(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}×" if value < 10 else f"{value:.0f}×"


def _times(factor: float | None, milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    inner = _number(milliseconds)
    return f"{_factor(factor)} ({inner})" if factor is not None else f"({inner})"

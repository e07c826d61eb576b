"""`python -m tests.clients`: runs the suite.

The exit code is 1 if a case fails, or if docs/clients.md shows other results.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from dev.progress import say
from tests.clients import gateway, installed, snippets, table
from tests.clients.cases import SNIPPETS, Agent, Task, tasks
from tests.clients.gateway import Gateway
from tests.clients.run import Result, run, snippet

AT_A_TIME = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="just clients", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="NAME", help="clients with this in their name")
    parser.add_argument("--model", action="append", default=[], help="this model; may be repeated")
    parser.add_argument("--no-edge", action="store_true", help="the proxy alone")
    parser.add_argument("--write", action="store_true", help="write the table into docs/clients.md")
    given = parser.parse_args()
    try:
        installed.install()
    except installed.OutOfReach as error:
        say(f"skipped: the registries are out of reach. {error}")
        return 0
    except installed.InstallFailed as error:
        say(str(error))
        return 1
    started = time.monotonic()
    asked = list(tasks(given.only, given.model, edge=not given.no_edge))
    folder = Path(tempfile.mkdtemp(prefix="clients-"))
    try:
        results, wrong = _results(asked, () if given.only else SNIPPETS, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failed = [result for result in results if result.failed is not None]
    made = table.rendered(results)
    say(f"\n{made}\n{len(results)} cases, {len(failed)} failed, in {time.monotonic() - started:.0f} s")
    for line in wrong:
        say(line)
    if given.write:
        page = snippets.PAGE.read_text(encoding="utf-8")
        snippets.PAGE.write_text(table.written(page, made), encoding="utf-8")
        return 1 if failed or wrong else 0
    whole = not given.only and not given.model and not given.no_edge
    if whole and table.shown(snippets.PAGE.read_text(encoding="utf-8")) != made:
        say("docs/clients.md shows other results: just clients --write")
        return 1
    return 1 if failed or wrong else 0


def _results(asked: list[Task], sections: Sequence[str], folder: Path) -> tuple[list[Result], list[str]]:
    """The cases' results, and what is wrong with the snippets and with the accounts afterwards."""
    with ExitStack() as stack:
        fake = stack.enter_context(gateway.provider())
        doors: Mapping[str, Gateway] = {
            door: stack.enter_context(open_it(fake, folder / door))
            for door, open_it in (("proxy", gateway.proxy), ("edge", gateway.edge))
            if any(task.door == door for task in asked)
        }
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            numbered = enumerate(asked)
            running = [pool.submit(_one, task, doors[task.door], folder / str(number)) for number, task in numbered]
            results = [result for one in running for result in one.result()]
        wrong = [f"docs/clients.md, {name}: {said}" for name in sections if (said := _snippet(name, doors, folder))]
        for door, opened in doors.items():
            account = opened.account()
            if not 0 < account["spend"] < gateway.BUDGET or account["reserved"]:
                wrong.append(f"{door}: the key's account is {account}")
    return results, wrong


def _one(task: Task, opened: Gateway, home: Path) -> list[Result]:
    started = time.monotonic()
    results = run(task, opened, home)
    shutil.rmtree(home, ignore_errors=True)
    failed = [result for result in results if result.failed is not None]
    say(f"{time.monotonic() - started:5.1f} s  {_title(task)}{f'  {len(failed)} failed' if failed else ''}")
    for result in failed:
        say(f"--- {result.model}, {result.scenario}: {result.failed}\n")
    return results


def _snippet(section: str, doors: Mapping[str, Gateway], folder: Path) -> str | None:
    return snippet(section, doors["proxy"], folder / section)


def _title(task: Task) -> str:
    what = f": {task.models[0]}, {task.scenarios[0]}" if isinstance(task.client, Agent) else ""
    return f"{task.client.name} ({task.client.api}, {task.door}){what}"


if __name__ == "__main__":
    sys.exit(main())

"""`just deploy`: checks everything, deploys to Cloudflare and sets the master key. Prints names, never values."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from container.config.document import ConfigError
from container.config.load import load
from container.proxy import catalog
from dev import bundle
from dev.image_contents import image_hash
from dev.offline import wrangler
from dev.offline.tools import MissingTool
from dev.runtime_choice import docker_problem
from dev.wrangler_command import Wrangler
from worker.core.api.health import missing

CONFIG = "litellm_config.yaml"  # the image's contents
MASTER_KEY = "LITELLM_MASTER_KEY"
SHORTEST_KEY = 16  # characters
EXAMPLE_KEY = "sk-1234"
# Marks a version deployed with an image by the image's hash.
TAG = "image-"
CREDENTIALS = {
    "CLOUDFLARE_API_TOKEN": "make one at dash.cloudflare.com/profile/api-tokens "
    "(template Edit Cloudflare Workers, and the permission Cloudchamber: Edit)",
    "CLOUDFLARE_ACCOUNT_ID": "the address of your dashboard ends in it: dash.cloudflare.com/<account id>",
}
GENERATE = f"export {MASTER_KEY}=sk-$(openssl rand -hex 32)"


class Refused(Exception):
    """Nothing was deployed, or something is missing afterwards; the message says what to do."""


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    tool: Wrangler | None = None,
    docker: bool = True,
) -> int:
    """`tool` and `docker` (whether Docker is needed) are for tests."""
    given = _parser().parse_args(arguments)
    environment = {name: value.strip() for name, value in environment.items() if value.strip()}
    try:
        tool = tool or Wrangler.installed(environment)
        run(tool, environment, dry_run=given.dry_run, docker=docker, config_only=given.config_only)
    except ConfigError as error:
        return _say(str(error))
    except (Refused, MissingTool, bundle.BundleError, wrangler.WranglerConfigError) as error:
        return _say(f"deploy: {error}")
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="just deploy",
        description="Checks the config, the Worker's bundle and the master key, then deploys to Cloudflare.",
        epilog=f"The first time {MASTER_KEY} has to be in the environment; it is put among the Worker's secrets, and "
        f"again whenever it is given. Needs {' and '.join(CREDENTIALS)}, and Docker to build the image. "
        "Exit codes: 0 deployed (or fine, with --dry-run), 1 refused or failed, 2 wrong usage.",
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything without touching Cloudflare")
    parser.add_argument(
        "--config-only",
        action="store_true",
        help="deploy the Worker with its configuration and leave the containers as they are: no Docker, no roll-out. "
        "It happens by itself where the image would be the one that is deployed",
    )
    return parser


def run(
    tool: Wrangler,
    environment: Mapping[str, str],
    *,
    dry_run: bool,
    docker: bool = True,
    config_only: bool = False,
) -> None:
    """Raises Refused, ConfigError, BundleError, MissingTool, WranglerConfigError."""
    key = environment.get(MASTER_KEY)
    if key is not None and (problem := key_problem(key)):
        raise Refused(f"{MASTER_KEY} {problem}. A good one: {GENERATE}")
    extract = check_config(tool)
    needs = extract["models"]
    vars_ = check_vars(tool, needs)
    absent = [name for name in CREDENTIALS if name not in environment]
    if absent and not dry_run:
        raise Refused(" ".join(f"{name} is not set: {CREDENTIALS[name]}." for name in absent))
    tag = TAG + image_hash(tool.directory, extract["document"])
    image = ["--containers-rollout=none"] if config_only else ["--tag", tag]
    if not dry_run and not config_only and deployed_tag(tool) == tag:
        print("The deployed image is this one: the containers stay as they are.")
        config_only, image = True, ["--containers-rollout=none", "--tag", tag]
    if docker and not dry_run and not config_only and (problem := docker_problem()):
        raise Refused(
            f"The image is built here, which needs Docker, and {problem}. "
            "A changed configuration alone needs no image: just deploy --config-only"
        )
    print(f"The Worker's bundle: {bundle.checked(tool)}")
    if dry_run:
        for name in absent:
            print(f"A deployment needs {name}: {CREDENTIALS[name]}.")
        if key is None:
            print(f"The first deployment needs {MASTER_KEY}: {GENERATE}")
        print("The models need these secrets. Which of them are set was not looked up:")
        for line in unmet(needs, vars_):
            print(f"  {line}")
        print("Checked; nothing was deployed.")
        return
    secrets = secret_names(tool)
    if key is None and MASTER_KEY not in secrets:
        raise Refused(f"The Worker has no {MASTER_KEY} yet, and would answer nobody. Give it one: {GENERATE}")
    # The Worker first, because a secret must belong to one. Until it has its master key it refuses all requests.
    if tool.show("deploy", *image):
        raise Refused("wrangler deploy failed; its output is above.")
    if key is not None:
        put_secret(tool, MASTER_KEY, key)
    for line in unmet(needs, {*vars_, *secrets}):
        print(f"Not set yet: {line}")


def key_problem(key: str) -> str | None:
    """The reason why the key is unusable as a master key, or None."""
    if key == EXAMPLE_KEY:
        return f"is {EXAMPLE_KEY}, which everybody knows"
    if len(key) < SHORTEST_KEY:
        return f"has {len(key)} characters; {SHORTEST_KEY} are the least"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "holds characters that a header cannot"
    return None


def check_config(tool: Wrangler) -> dict[str, Any]:
    """Runs `litellm-router check` and `catalog`; returns the catalog. Raises ConfigError."""
    path = tool.directory / CONFIG
    config = load(path, {})
    for problem in config.problems:
        _say(str(problem))
    if catalog.write(path, tool.directory / "worker" / "catalog.py"):
        print("worker/catalog.py written")
    return catalog.catalog(config)


def check_vars(tool: Wrangler, needs: Mapping[str, Iterable[Iterable[str]]]) -> dict[str, str]:
    """Checks the vars of wrangler.jsonc, which are public. Raises Refused, WranglerConfigError."""
    found = wrangler.read(tool.directory / bundle.CONFIG).vars
    secret = {MASTER_KEY, "INTERNAL_TOKEN"} | {name for name in _names(needs) if name.endswith(("_KEY", "_TOKEN"))}
    for name in found:
        if name in secret:
            raise Refused(f"{bundle.CONFIG}: {name} is a secret; take it out of vars and put it: {_put(name)}")
    if str(found.get("LOCAL_DEVELOPMENT", "")).lower() in ("true", "1", "yes", "on"):
        raise Refused(f"{bundle.CONFIG}: LOCAL_DEVELOPMENT is for a developer's machine; take it out of vars.")
    return found


def secret_names(tool: Wrangler) -> set[str]:
    """The names of the Worker's secrets; empty if the Worker does not exist yet. Raises Refused."""
    name = wrangler.read(tool.directory / bundle.CONFIG).name
    done = tool.capture("secret", "list", "--format", "json")
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        if f'Worker "{name}" not found' in said:
            return set()
        raise Refused(f"wrangler cannot list the Worker's secrets:\n{said}")
    return {secret["name"] for secret in json.loads(done.stdout)}


def deployed_tag(tool: Wrangler) -> str | None:
    """The tag of the newest version that was deployed with an image, or None."""
    done = tool.capture("versions", "list", "--json")
    if done.returncode:
        return None  # the Worker does not exist yet; any other problem is reported by the next step
    try:
        versions = sorted(json.loads(done.stdout), key=lambda one: one["metadata"]["created_on"], reverse=True)
        tags = [(one.get("annotations") or {}).get("workers/tag") for one in versions]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return next((tag for tag in tags if tag and tag.startswith(TAG)), None)


def put_secret(tool: Wrangler, name: str, value: str) -> None:
    """Uses standard input, because everybody on the machine can read command lines. Raises Refused."""
    done = tool.capture("secret", "put", name, stdin=value)
    if done.returncode:
        said = (done.stdout + done.stderr).replace(value, "…").strip()
        raise Refused(f"The Worker is deployed, but its {name} could not be put:\n{said}\nTry again: {_put(name)}")
    print(f"Secret {name} put.")


def unmet(needs: Mapping[str, Iterable[Iterable[str]]], given: Iterable[str]) -> list[str]:
    """One line per variable missing from `given`: the models that need it, and the command that sets it."""
    present = set(given)
    wanted: dict[str, list[str]] = {}
    for model, deployments in needs.items():
        for need in dict.fromkeys(need for one in deployments for need in missing(one, present.__contains__)):
            wanted.setdefault(need, []).append(model)
    return [
        f"{need.replace('|', ' or ')} for {', '.join(models)}: {_put(need.partition('|')[0])}"
        for need, models in sorted(wanted.items())
    ]


def _names(needs: Mapping[str, Iterable[Iterable[str]]]) -> set[str]:
    return {name for deployments in needs.values() for one in deployments for need in one for name in need.split("|")}


def _put(name: str) -> str:
    return f"just wrangler secret put {name}"


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

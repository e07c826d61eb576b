"""docs/deploy-kubernetes.md: the manifests are valid, fit each other and the image, and the gateway runs with them."""

import importlib
import os
import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from container.accounting.ledger import _DRAIN_SECONDS
from container.config.load import load
from container.engine import STOP_SECONDS
from container.server.settings import VARIABLES, read
from tests.deploy.pages import BLOCK, Page, curl, shell
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import NewDatabase
from tests.money import wait_for
from tests.processes import ROOT, RunningProxy, StartProxy

PAGE = Page("deploy-kubernetes")
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
MANIFESTS: dict[str, Any] = {m["kind"]: m for m in map(yaml.safe_load, (path.read_text() for path in FILES))}
POD = MANIFESTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
SECRET = MANIFESTS["Secret"]["stringData"]
SET = {one["name"]: one["value"] for one in CONTAINER["env"]}
IMAGE = (ROOT / "Dockerfile").read_text()
KEY = "sk-the-master-key-of-this-test"


def parsed(manifest: dict[str, Any]) -> Any:
    """The manifest as an object of Kubernetes' API. Raises ValueError for a wrong type or a missing field."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    module = f"{group.split('.')[0] or 'core'}_{version}"
    kind = getattr(importlib.import_module(f"lightkube.models.{module}"), manifest["kind"])
    return kind.from_dict(manifest)


def unknown(manifest: Any, known: Any, at: str = "") -> Iterator[str]:
    """Where the manifest has something that is not in `known`, the same manifest without unknown fields."""
    if isinstance(manifest, dict) and isinstance(known, dict):
        for name, value in manifest.items():
            yield from unknown(value, known[name], f"{at}.{name}") if name in known else [f"{at}.{name}"]
    elif isinstance(manifest, list) and isinstance(known, list) and len(manifest) == len(known):
        for index, (one, other) in enumerate(zip(manifest, known, strict=True)):
            yield from unknown(one, other, f"{at}[{index}]")
    elif manifest != known:
        yield at


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_manifest_has_only_fields_of_kubernetes_api(path: Path):
    manifest = yaml.safe_load(path.read_text())
    assert not list(unknown(manifest, parsed(manifest).to_dict()))


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"livenesProbe": {}}, ".livenesProbe"),
        ({"ports": [{"containerPort": 4000, "protocl": "TCP"}]}, ".ports[0].protocl"),
    ],
)
def test_a_misspelt_field_would_be_found(change: dict[str, Any], at: str):
    manifest = {**MANIFESTS["Deployment"], "spec": yaml.safe_load(yaml.safe_dump(MANIFESTS["Deployment"]["spec"]))}
    manifest["spec"]["template"]["spec"]["containers"][0].update(change)
    assert list(unknown(manifest, parsed(manifest).to_dict())) == [f".spec.template.spec.containers[0]{at}"]


@pytest.mark.parametrize("change", [{"ports": [{"containerPort": "http"}]}, {"env": [{"value": "x"}]}, {"name": None}])
def test_a_wrong_type_and_a_missing_field_would_be_found(change: dict[str, Any]):
    manifest = yaml.safe_load(yaml.safe_dump(MANIFESTS["Deployment"]))
    manifest["spec"]["template"]["spec"]["containers"][0].update(change)
    with pytest.raises(ValueError):
        parsed(manifest)


def test_applying_the_folder_leaves_the_example_secret_out():
    assert {path.parent.name for path in FILES if yaml.safe_load(path.read_text())["kind"] == "Secret"} == {"example"}


def test_everything_selects_the_pods_of_the_deployment():
    labels = POD["metadata"]["labels"].items()
    spec = {kind: manifest.get("spec", {}) for kind, manifest in MANIFESTS.items()}
    selectors = [
        spec["Deployment"]["selector"]["matchLabels"],
        spec["Service"]["selector"],
        spec["PodDisruptionBudget"]["selector"]["matchLabels"],
        spec["NetworkPolicy"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in POD["spec"]["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    deployment = MANIFESTS["Deployment"]
    target = spec["HorizontalPodAutoscaler"]["scaleTargetRef"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }


def test_what_the_pod_refers_to_exists():
    assert [one["secretRef"]["name"] for one in CONTAINER["envFrom"]] == [MANIFESTS["Secret"]["metadata"]["name"]]
    mounted = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    volumes = {one["name"]: one for one in POD["spec"]["volumes"]}
    assert volumes.keys() == mounted.keys()
    assert volumes["config"]["configMap"]["name"] == MANIFESTS["ConfigMap"]["metadata"]["name"]
    assert SET["LITELLM_CONFIG"] in {f"{mounted['config']}/{name}" for name in MANIFESTS["ConfigMap"]["data"]}
    assert not any("subPath" in one for one in CONTAINER["volumeMounts"])  # it would never change


def test_ports_are_the_images():
    (port,) = CONTAINER["ports"]
    assert f"EXPOSE {port['containerPort']}" in IMAGE
    assert read({}).port == port["containerPort"]
    named = {port["name"]}
    assert {
        CONTAINER[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    } == named
    assert {one["targetPort"] for one in MANIFESTS["Service"]["spec"]["ports"]} == named
    (rule,) = MANIFESTS["NetworkPolicy"]["spec"]["ingress"]
    assert {one["port"] for one in rule["ports"]} == named


def test_the_pod_satisfies_the_restricted_pod_security_standard():
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod, own = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"USER {pod['runAsUser']}" in IMAGE
    assert pod["seccompProfile"]["type"] == "RuntimeDefault"
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for one in POD["spec"]["volumes"] for kind in one if kind != "name"} <= {"configMap", "emptyDir"}
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_variables_of_other_services_do_not_reach_the_gateway():
    """A Service named `redis` would set REDIS_PORT=tcp://…, which the gateway refuses."""
    assert POD["spec"]["enableServiceLinks"] is False


def test_a_pod_has_time_for_its_running_requests():
    spec = POD["spec"]
    grace = read(SET).shutdown_grace
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace > 30
    assert spec["terminationGracePeriodSeconds"] >= before + grace + _DRAIN_SECONDS + STOP_SECONDS
    assert str(int(grace)) in PAGE.text


def test_every_variable_is_known():
    config = yaml.safe_load(MANIFESTS["ConfigMap"]["data"]["litellm_config.yaml"])
    referenced = set(re.findall(r"os\.environ/(\w+)", yaml.safe_dump(config)))
    known = {variable.name for variable in VARIABLES} | {"LITELLM_CONFIG"} | referenced
    assert SET.keys() | SECRET.keys() <= known
    assert referenced <= SECRET.keys()


def test_the_network_policy_lets_out_what_the_gateway_needs():
    rules = MANIFESTS["NetworkPolicy"]["spec"]["egress"]
    (out,) = (rule for rule in rules if "to" in rule)
    ports = {one["port"] for one in out["ports"]}
    assert {443, urlsplit(SECRET["DATABASE_URL"]).port} <= ports
    assert {one["port"] for rule in rules if "to" not in rule for one in rule["ports"]} == {53}
    blocks = [to["ipBlock"] for to in out["to"]]
    for metadata in ("169.254.169.254", "fd00:ec2::254"):  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/
        address = ip_address(metadata)
        mine = [b for b in blocks if address in ip_network(b["cidr"])]
        assert mine
        assert all(any(address in ip_network(e) for e in block["except"]) for block in mine)


def test_the_autoscaler_has_a_request_to_compare_with():
    spec = MANIFESTS["HorizontalPodAutoscaler"]["spec"]
    assert [one["resource"]["name"] for one in spec["metrics"]] == ["cpu"]
    assert CONTAINER["resources"]["requests"]["cpu"]
    assert "replicas" not in MANIFESTS["Deployment"]["spec"]
    assert 1 < spec["minReplicas"] < spec["maxReplicas"]
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] < spec["minReplicas"]


class Pod:
    """The gateway as in a pod: its environment, and its config mounted as the kubelet mounts a ConfigMap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        self.mount(MANIFESTS["ConfigMap"]["data"])
        for name in MANIFESTS["ConfigMap"]["data"]:
            (folder / name).symlink_to(Path("..data") / name)

    @property
    def config(self) -> Path:
        return self.folder / Path(SET["LITELLM_CONFIG"]).name

    def mount(self, data: dict[str, str]) -> None:
        """Replaces all files at once: https://kubernetes.io/docs/concepts/configuration/configmap/"""
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(version.name)
        os.rename(self.folder / "..data_tmp", self.folder / "..data")


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Pod:
    return Pod(tmp_path_factory.mktemp("etc-litellm"))


@pytest.fixture(scope="module")
def running(module_proxy: StartProxy, providers: FakeProvider, pod: Pod, new_database: NewDatabase) -> RunningProxy:
    environment = {**SET, **SECRET, **pointing_at(providers), "DATABASE_URL": new_database()}
    for name in ("LITELLM_CONFIG", "LITELLM_MASTER_KEY"):
        environment.pop(name)
    return module_proxy(pod.config, master_key=KEY, environment=environment)


def test_the_config_has_no_problems(tmp_path: Path):
    path = tmp_path / "litellm_config.yaml"
    path.write_text(MANIFESTS["ConfigMap"]["data"]["litellm_config.yaml"])
    config = load(path, dict.fromkeys(SECRET, "sk-set"))
    assert not [str(problem) for problem in config.problems if problem.level != "note"]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_is_answered(running: RunningProxy, probe: str):
    wanted = CONTAINER[probe]
    # The kubelet asks the pod's address, without a key.
    headers = {"host": "10.1.2.3:4000", "user-agent": "kube-probe/1.37"}
    answer = httpx.get(
        running.url + wanted["httpGet"]["path"], headers=headers, timeout=wanted.get("timeoutSeconds", 1)
    )
    assert answer.status_code == 200
    assert wanted["httpGet"]["path"] in PAGE.text


def test_the_pages_requests_are_answered(running: RunningProxy):
    _, ready, models = PAGE.block("/health/readiness").splitlines()
    replaced = {"http://localhost:4000": running.url}
    assert curl(ready, replaced, {})["status"] == "healthy"
    listed = curl(models, replaced, {"LITELLM_MASTER_KEY": KEY})
    assert {"gpt-4o", "claude-sonnet"} <= {model["id"] for model in listed["data"]}


def test_a_request_is_answered_and_its_key_is_in_postgres(running: RunningProxy):
    master = {"authorization": f"Bearer {KEY}"}
    made = httpx.post(f"{running.url}/key/generate", json={"max_budget": 1}, headers=master)
    key = made.json()["key"]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    url = f"{running.url}/v1/chat/completions"
    assert httpx.post(url, json=body, headers={"authorization": f"Bearer {key}"}).status_code == 200
    assert not list(running.directory.glob("ledger.db*"))


def test_a_changed_config_map_is_loaded_without_a_restart(running: RunningProxy, pod: Pod):
    text = MANIFESTS["ConfigMap"]["data"]["litellm_config.yaml"]
    pod.mount({"litellm_config.yaml": text.replace("claude-sonnet", "claude-renamed")})
    headers = {"authorization": f"Bearer {KEY}"}

    def names() -> set[str]:
        return {one["id"] for one in httpx.get(f"{running.url}/v1/models", headers=headers).json()["data"]}

    wait_for(names, lambda found: "claude-renamed" in found)
    assert running.running


def test_the_page_makes_a_secret_with_a_fresh_master_key(tmp_path: Path):
    copy = tmp_path / "deploy" / "kubernetes" / "example"
    copy.mkdir(parents=True)
    (copy / "secret.yaml").write_bytes((FOLDER / "example" / "secret.yaml").read_bytes())
    commands = [line for line in PAGE.block("cp deploy/kubernetes").splitlines() if not line.startswith("kubectl")]
    exported = PAGE.block("/health/readiness").splitlines()[0]
    printed = shell("\n".join([*commands, exported, 'echo "$LITELLM_MASTER_KEY"']), {}, {}, folder=tmp_path)
    assert re.fullmatch(r"sk-[0-9a-f]{64}\n", printed)
    made = yaml.safe_load((tmp_path / "secret.yaml").read_text())
    assert made["stringData"]["LITELLM_MASTER_KEY"] == printed.strip()
    parsed(made)


def test_the_commands_name_what_there_is():
    commands = [
        line for _, text in BLOCK.findall(PAGE.text) for line in text.splitlines() if line.startswith("kubectl")
    ]
    commands += re.findall(r"`(kubectl -n [^`]+)`", PAGE.text)
    assert len(commands) > 4
    kinds = {"deployment": "Deployment", "service": "Service"}
    for command in commands:
        words = shlex.split(command)
        for kind, _, name in (word.partition("/") for word in words if word.partition("/")[0] in kinds):
            assert MANIFESTS[kinds[kind]]["metadata"]["name"] == name
        if "apply" in words:
            path = words[words.index("-f") + 1]
            assert path == "secret.yaml" or (ROOT / path).exists()


def test_the_page_names_every_file():
    for path in FILES:
        assert f"`{path.relative_to(ROOT)}`" in PAGE.text

"""What must not change between deployments: the storage of keys and spend."""

from dev.edge import WRANGLER_CONFIG
from dev.offline import wrangler

RAW = wrangler.parse_jsonc(WRANGLER_CONFIG.read_text())


def test_the_ledgers_storage_does_not_move() -> None:
    """A Durable Object's storage is bound to its class, its migrations and its name."""
    assert RAW["migrations"] == [
        {"tag": "v1", "new_sqlite_classes": ["ProxyContainer"]},
        {"tag": "v2", "new_sqlite_classes": ["Ledger"]},
    ]
    bindings = {binding["name"]: binding["class_name"] for binding in RAW["durable_objects"]["bindings"]}
    assert bindings == {"PROXY_CONTAINER": "ProxyContainer", "LEDGER": "Ledger"}
    source = (WRANGLER_CONFIG.parent / "worker" / "edge" / "stubs.py").read_text()
    assert '\nLEDGER_NAME = "ledger"\n' in source


def test_all_containers_share_an_image_and_have_capacity_for_a_rollout() -> None:
    containers = {entry.pop("class_name"): entry for entry in RAW["containers"]}
    assert containers.keys() == {"Ledger", "ProxyContainer"}
    instances = {name: entry.pop("max_instances") for name, entry in containers.items()}
    assert instances["Ledger"] == 2
    assert instances["ProxyContainer"] >= 2 * (int(RAW["vars"]["CONTAINER_INSTANCES"]) - 1)
    for entry in containers.values():
        assert entry.pop("rollout_step_percentage")[-1] == 100
    assert containers["Ledger"] == containers["ProxyContainer"]

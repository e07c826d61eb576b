"""What a deployment must keep from one version to the next: the places where its keys and its spending are."""

from dev.edge import WRANGLER_CONFIG
from dev.offline import wrangler

RAW = wrangler.parse_jsonc(WRANGLER_CONFIG.read_text())


def test_the_ledger_stays_where_it_was() -> None:
    """A Durable Object's storage belongs to its class, its migrations and its name."""
    assert RAW["migrations"] == [
        {"tag": "v1", "new_sqlite_classes": ["ProxyContainer"]},
        {"tag": "v2", "new_sqlite_classes": ["Ledger"]},
    ]
    bindings = {binding["name"]: binding["class_name"] for binding in RAW["durable_objects"]["bindings"]}
    assert bindings == {"PROXY_CONTAINER": "ProxyContainer", "LEDGER": "Ledger"}
    source = (WRANGLER_CONFIG.parent / "worker" / "edge" / "ledger_client.py").read_text()
    assert '\nNAME = "ledger"\n' in source


def test_every_container_is_of_one_image_and_has_room_for_a_roll_out() -> None:
    containers = {entry.pop("class_name"): entry for entry in RAW["containers"]}
    assert containers.keys() == {"Ledger", "ProxyContainer"}
    instances = {name: entry.pop("max_instances") for name, entry in containers.items()}
    assert instances["Ledger"] == 2
    assert instances["ProxyContainer"] >= 2 * (int(RAW["vars"]["CONTAINER_INSTANCES"]) - 1)
    for entry in containers.values():
        assert entry.pop("rollout_step_percentage")[-1] == 100
    assert containers["Ledger"] == containers["ProxyContainer"]

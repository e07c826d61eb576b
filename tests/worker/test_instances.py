"""The assignment of keys to container instances."""

from collections import Counter

from worker.edge.instances import candidates, instance_names


def test_one_instance_serves_all():
    assert candidates(1, "any") == candidates(1, None) == ["proxy-0"]


def test_a_key_keeps_its_instance_and_any_other_can_take_over():
    order = candidates(5, "sk-a")
    assert order == candidates(5, "sk-a")
    assert sorted(order) == instance_names(5)


def test_keys_are_spread():
    first = Counter(candidates(4, f"sk-{number}")[0] for number in range(400))
    assert sorted(first) == instance_names(4)
    assert min(first.values()) > 50


def test_any_text_is_a_key():
    assert len(candidates(3, "\ud800 ü")) == 3

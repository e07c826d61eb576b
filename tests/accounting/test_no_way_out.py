"""What a client could do once its request is let in, in order to pay less than the provider is paid."""



from tests.accounting.conftest import Start
from tests.fakes import OK, Behaviour, FakeProvider
from tests.money import OUT, deployment


def test_who_has_no_more_time_is_not_worked_for_by_others(start: Start, fake: FakeProvider) -> None:
    """Each deployment would work for it, and one reservation would pay."""
    group = [deployment(fake, "gpt", f"gpt-{i}") for i in range(3)]
    gateway = start(models=[*group, deployment(fake, "other")], more={"num_retries": 3})
    fake.always(Behaviour(delay=1))
    late = gateway.ask(gateway.key(max_budget=1), max_tokens=100, timeout=0.2, fallbacks=["other"])
    assert (late.status_code, late.json()["error"]["type"]) == (504, "timeout_error")
    assert len(fake.requests) == 1
    [line] = gateway.logs()
    assert line["spend"] == line["reserved"] >= 100 * OUT


def test_a_provider_that_says_it_took_too_long_is_not_the_clients_doing(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", f"gpt-{i}") for i in range(2)], more={"num_retries": 1})
    fake.queue(Behaviour(status=504), OK)
    assert gateway.ask(gateway.key(max_budget=1), timeout=5).status_code == 200
    assert len(fake.requests) == 2

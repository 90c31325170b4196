"""Consumers in the background are numbered by their machine, and their group has those of many."""

import re

import pytest

from k2ctl.stack.replicas import known_as


def called_on(host: str, name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("k2ctl.stack.replicas.socket.gethostname", lambda: host)
    return known_as(name, engine)


def test_the_first_consumers_of_two_hosts_have_two_names_in_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {called_on(host, "consumer-1", "external", monkeypatch) for host in ("one", "two.example.org", "Zwei+")}
    assert names == {"consumer-1.one", "consumer-1.two.example.org", "consumer-1.Zwei-"}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


@pytest.mark.parametrize(("name", "engine"), [("consumer-1", "local"), ("a-1", "external"), ("", "external")])
def test_a_name_that_was_given_and_one_of_a_stack_of_this_machine_stay_as_they_are(
    name: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called_on("one", name, engine, monkeypatch) == name

"""`k2ctl consume --detach` passes its options to the consumers in the background."""

import pytest

from k2ctl.cli import main
from k2ctl.commands import fleet


def arguments_of(monkeypatch: pytest.MonkeyPatch, *options: str) -> list[str]:
    reported: list[str] = []

    def detach(count: int, arguments: list[str], *, as_json: bool) -> None:
        reported.extend(arguments)

    monkeypatch.setattr(fleet, "detach", detach)
    assert main(["consume", "--detach", *options]) == 0
    return reported


def test_port_and_address_of_the_metrics_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = arguments_of(monkeypatch, "--metrics-port", "9464", "--metrics-address", "0.0.0.0")  # noqa: S104
    assert reported == ["--metrics-port", "9464", "--metrics-address", "0.0.0.0"]  # noqa: S104


def test_an_address_that_was_not_given_is_left_to_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments_of(monkeypatch, "--metrics-port", "9464") == ["--metrics-port", "9464"]

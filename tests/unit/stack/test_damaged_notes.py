"""What a stack has written down and somebody has damaged is reported in the log, and not taken for nothing."""

import logging
from pathlib import Path

import pytest

from k2ctl.endpoints import load_endpoints_or_nothing
from k2ctl.home import Home
from k2ctl.stack import replicas

pytestmark = pytest.mark.usefixtures("home")


def test_endpoints_that_cannot_be_read_are_removed_and_the_log_says_so(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "endpoints.json").write_text("{")
    with caplog.at_level(logging.WARNING, "k2ctl.stack"):
        assert load_endpoints_or_nothing(Home.of_user()) is None
    assert caplog.messages == ["the endpoints are removed"]
    assert not (home / "endpoints.json").exists()


def test_a_consumer_whose_record_cannot_be_read_is_in_the_log(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (Home.of_user().folder(replicas.FOLDER) / "consumer-1.json").write_text("[]")
    with caplog.at_level(logging.WARNING, "k2ctl.stack"):
        assert replicas.records(Home.of_user()) == []
    assert caplog.messages == ["a consumer's record cannot be read"]

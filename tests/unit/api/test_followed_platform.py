"""The service follows what consumers report, whatever they report."""

import pytest

from k2ctl.api import platform
from k2ctl.endpoints import Endpoints
from tests.support.polling import until


class Reader:
    """Telemetry at which every look goes wrong in a way that nobody foresaw."""

    made = 0

    def __init__(self, _: Endpoints) -> None:
        Reader.made += 1

    def poll(self, _: float) -> object:
        raise KeyError("shed")

    def close(self) -> None:
        pass


def test_an_error_that_nobody_foresaw_is_said_and_the_service_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "OverviewReader", Reader)
    monkeypatch.setattr(platform, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(platform, "_RETRY_S", 0.01)
    followed = platform.FollowedPlatform(Endpoints("embedded", "", "", ""), list)
    try:
        until(lambda: followed.problem == "KeyError: 'shed'")
        until(lambda: Reader.made > 2)
        assert followed.overview is None
    finally:
        followed.close()

"""One platform for notebooks, which its stack and its service answer for: made trades, and BHP's of the last minute."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import k2ctl.client as k2
from k2ctl.api.settings import Keys, Settings
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.home import Home
from tests.made_trades import newest_trades, produce_values
from tests.support.api import Service, platform, serving
from tests.support.flight import KEY

_PROFILE = """\
base: laptop
name: notebooks
market: {exchange: NOTES1}
"""


@pytest.fixture(scope="session")
def noted(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, with a key; its endpoints are those of the stack."""
    folder = tmp_path_factory.mktemp("client")
    profile = folder / "notebooks.yaml"
    profile.write_text(_PROFILE)
    endpoints, topic = platform(replace(embedded_stack, profile=str(profile), home=Home(folder)), folder, "NOTES1")
    produce_values(endpoints, topic, ((0, value) for value in frames(newest_trades(b"BHP"), 1)))
    with serving(endpoints, topic, Settings(port=0, flight_port=0, keys=Keys((KEY.encode(),)))) as running:
        yield running


@pytest.fixture
def at_the_stack(noted: Service, home: Path) -> Iterator[None]:
    """The test's state directory names the platform."""
    save_endpoints(replace(noted.endpoints, home=Home(home)))
    yield
    for client in k2._opened.values():
        client.close()
    k2._opened.clear()


@pytest.fixture(params=["stack", "service"])
def client(request: pytest.FixtureRequest, noted: Service, at_the_stack: None) -> Iterator[k2.Client]:
    """One that asks the stack itself, and one that asks the service."""
    address = (noted.url, KEY) if request.param == "service" else ()
    with k2.connect(*address) as opened:
        yield opened

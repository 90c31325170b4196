"""A service over a small platform: some trades in the lake, some on their way, a server on a free port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.api.settings import Keys, Limits, Settings
from k2ctl.endpoints import Endpoints
from tests.support.api import Service, platform, serving


@pytest.fixture(scope="session")
def service(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Shared by the tests that only ask."""
    endpoints, topic = platform(embedded_stack, tmp_path_factory.mktemp("api"), "API1")
    with serving(endpoints, topic, Settings(port=0)) as running:
        yield running


@pytest.fixture
def fresh(embedded_stack: Endpoints, home: Path, exchange: str) -> Iterator[Service]:
    """A service of the test's own, with keys and small limits."""
    endpoints, topic = platform(embedded_stack, home, exchange)
    limits = Limits(queries=1, waiting_s=0.2, streams=1, seconds=2.0)
    with serving(endpoints, topic, Settings(port=0, keys=Keys((b"k" * 20, b"l" * 20)), limits=limits)) as running:
        yield running

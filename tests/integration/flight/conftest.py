"""A service that also speaks Flight SQL, over a small platform."""

from collections.abc import Iterator

import pytest

from k2ctl.api.settings import Keys, Settings
from k2ctl.endpoints import Endpoints
from tests.support.api import Service, platform, serving
from tests.support.flight import KEY, LIMITS


@pytest.fixture(scope="module")
def served(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """600 trades in the lake, 450 to 1000 in Kafka; two queries at once, one of them in SQL, for two seconds each."""
    endpoints, topic = platform(embedded_stack, tmp_path_factory.mktemp("flight"), "FLIGHT1")
    settings = Settings(port=0, flight_port=0, keys=Keys((KEY.encode(),)), limits=LIMITS)
    with serving(endpoints, topic, settings) as running:
        yield running

"""Six hosts once a session, and a topic, a table and consumers of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.many_hosts import Platform, Services, opened
from tests.support.postgres_server import Missing


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Skips with the reason."""
    try:
        running = Services(tmp_path_factory.mktemp("hosts"))
    except Missing as error:
        pytest.skip(str(error))
    yield running
    running.close()


@pytest.fixture
def platform(services: Services, tmp_path: Path, exchange: str) -> Iterator[Platform]:
    running = opened(services, tmp_path, exchange)
    yield running
    running.close()

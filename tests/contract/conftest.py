"""The catalogs that the lake's contract is tested on."""

from collections.abc import Iterator
from typing import Any

import pytest

from k2ctl.lake.catalog import Lake
from tests.support.lake_commits import Opener


@pytest.fixture(params=["sqlite", "postgresql", "rest"])
def open_lake(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Opener]:
    """Opens the same catalog again and again, as other processes would."""
    if request.param == "sqlite":
        uri = f"sqlite:///{tmp_path}/catalog.db"
    elif request.param == "rest":
        uri = request.getfixturevalue("rest_server").catalog(f"file://{tmp_path}/warehouse")
    else:
        uri = request.getfixturevalue("postgres_server").database()
    opened: list[Lake] = []

    def open_again() -> Lake:
        opened.append(Lake(uri, f"file://{tmp_path}/warehouse"))
        return opened[-1]

    yield open_again
    for lake in opened:
        lake.close()


@pytest.fixture
def lake(open_lake: Opener) -> Lake:
    return open_lake()

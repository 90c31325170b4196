"""A market of the test's own: its profile, its empty topic, and an empty table."""

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile
from tests.support.platforms import empty_market


@pytest.fixture
def platform(endpoints: Endpoints, exchange: str) -> tuple[Endpoints, Profile, str]:
    """The stack with an empty table, and a market whose topic is empty."""
    return endpoints, *empty_market(endpoints, exchange)


@pytest.fixture
def profile(platform: tuple[Endpoints, Profile, str]) -> Profile:
    """The market's profile."""
    return platform[1]


@pytest.fixture
def topic(platform: tuple[Endpoints, Profile, str]) -> str:
    """The market's topic."""
    return platform[2]

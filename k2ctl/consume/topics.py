"""The topics that a consumer reads: the market's own, which is made, or those of others, which have to be there."""

import logging
from collections.abc import Callable
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.topics import topics_named
from k2ctl.endpoints import Endpoints
from k2ctl.errors import first_line
from k2ctl.kafka.admin import BrokerAdmin, no_such_topic
from k2ctl.profiles import Profile

LOG: Final = logging.getLogger("k2ctl.consume")

LOOK_EVERY_S: Final = 1.0


def found_topics(endpoints: Endpoints, profile: Profile) -> list[str]:
    """Those of the profile's topics that are there now.

    Raises:
        BrokerError: Kafka does not answer.
    """
    with BrokerAdmin(endpoints) as admin:
        return topics_named(profile.trades_topic, admin.topics())


def topics_of(
    endpoints: Endpoints,
    profile: Profile,
    say: Callable[[str], None] | None = None,
    waits: Callable[[str], None] = lambda _: None,
    clock: Clock | None = None,
) -> list[str]:
    """The profile's topics. say: wait for one of others until it is there, and say so; None: it has to be there.

    waits: called at each look that did not find it.

    Raises:
        BrokerError: there is no such topic, or Kafka does not answer.
    """
    if profile.topic.name is None:
        return [profile.trades_topic]
    clock, said = clock or SystemClock(), False
    while True:
        with BrokerAdmin(endpoints) as admin:
            there = admin.topics()
        found = topics_named(profile.trades_topic, there)
        if found:
            return found
        missing = no_such_topic(profile.trades_topic, there)
        if say is None:
            raise missing
        if not said:
            LOG.info("waiting: %s", missing)
            say(f"{missing} Waiting for it. {missing.hint}")
            said = True
        waits(first_line(missing))
        clock.sleep(LOOK_EVERY_S)

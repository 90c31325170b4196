"""A topic and a lake of a test's own on a running stack."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles import Profile
from tests.made_trades import quick_profile


def with_lake(stack: Endpoints, home: Path) -> Endpoints:
    """The running Kafka with an empty lake in a state directory."""
    lake = home / "lake"
    lake.mkdir()
    places = {"catalog_uri": f"sqlite:///{lake}/catalog.db", "warehouse": f"file://{lake}/warehouse"}
    return replace(stack, **places, home=Home(home))


def market_of_its_own(profile: Profile, name: str) -> tuple[Profile, str]:
    """The profile with an exchange, and so a topic, that no other test has."""
    market = profile.market.model_copy(update={"exchange": name})
    changed = profile.model_copy(update={"market": market})
    return changed, changed.trades_topic


def empty_market(endpoints: Endpoints, exchange: str, **consumer: object) -> tuple[Profile, str]:
    """A quick profile with an exchange of its own, and its topic, which is made."""
    profile, topic = market_of_its_own(quick_profile(**consumer), exchange)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions)
    return profile, topic


def catch_up(endpoints: Endpoints, profile: Profile, **plan: Any) -> Consumer:
    """A consumer that has read, stored and backfilled all there is."""
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True, **plan))
    consumer.run(threading.Event())
    return consumer

"""The topics of a market: whoever comes first makes them, so load and consumers make them alike."""

from k2ctl.domain.topics import dead_letter_topic, reference_topic, trades_topic
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles import Profile


def make_topics(admin: BrokerAdmin, profile: Profile) -> tuple[str, str]:
    """Make trades, dead letters and reference data where they are missing; the names of trades and reference data."""
    market, topic = profile.market, profile.topic
    trades = trades_topic(market.asset_class, market.exchange)
    reference = reference_topic(market.asset_class, market.exchange)
    retention = {"retention.ms": str(round(topic.retention_hours * 3_600_000))}
    admin.create_topic(trades, topic.partitions, retention)
    admin.create_topic(dead_letter_topic(trades), 1)
    admin.create_topic(reference, 1, {"cleanup.policy": "compact"})
    return trades, reference

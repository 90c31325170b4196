"""`k2ctl verify --against-kafka`: every record that Kafka still holds is accounted for, whoever sent it.

1. Pin a snapshot with its checkpoints and ledger, then take the watermarks, then the places of the dead letters.
2. Read what Kafka holds, stretch by stretch, and decode it as the consumer does.
3. Hold each stretch to the rows that the table has of its places: stored, altered, duplicated, unexpected.
4. What has no row is pending, a dead letter, deferred or a copy of a stored trade; else it is missing.
5. Compare the sums with the counts of the checkpoints, where Kafka holds a partition from its first record on.
"""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from k2ctl.checks.verify.accounted import Accounted
from k2ctl.checks.verify.accounting import Accounting
from k2ctl.checks.verify.stored_prints import StoredPrints
from k2ctl.checks.verify.verification import Say
from k2ctl.clock import SystemClock
from k2ctl.domain.topics import topics_named
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.feeds.records import Decoder
from k2ctl.feeds.stretches import read_stretches, why_unread
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import read_dead_places
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.lake.snapshots import pin
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe


def account(endpoints: Endpoints, profile: Profile, say: Say) -> list[Accounted]:
    """Account for what Kafka holds of each topic that the table is filled from, by the feed that its consumer recorded.

    Raises:
        CheckFailed: there is no such topic.
        LakeError, BrokerError: the table or Kafka does not answer. ProfileError: a feed is not as it should be.
    """
    with Lake.at(endpoints) as lake, closing(SuspectLookup(lake, SystemClock())) as lookup:
        pinned = pin(lake)
        feeds = TopicFeeds(profile, feeds_in(pinned.table) if pinned else {})
        with BrokerAdmin(endpoints) as admin:
            there = admin.topics()
            known = {*(pinned.checkpoints.topics if pinned else ()), *topics_named(profile.trades_topic, there)}
            epochs = {topic: admin.epoch(topic) for topic in sorted(known) if topic in there}
        if not epochs:
            raise CheckFailed("Kafka has none of the table's topics.", "What the table has read: k2ctl lake status")
        results = []
        for topic, epoch in epochs.items():
            result, dead = Accounted(topic, epoch), read_dead_places(endpoints, topic, epoch)
            with TemporaryDirectory(prefix="k2ctl-verify-") as folder:
                prints = StoredPrints(Path(folder))
                accounting = Accounting(pinned, dead, Universe(profile), lookup, prints, result)
                _account_for(endpoints, accounting, feeds.decoder(topic), say)
            results.append(result)
    return results


def _account_for(endpoints: Endpoints, accounting: Accounting, decoder: Decoder, say: Say) -> None:
    """One topic, from where Kafka begins to where it ended when this began."""
    result = accounting.result
    with BrokerAdmin(endpoints) as admin:
        marks = {partition: (mark.low, mark.high) for partition, mark in admin.watermarks(result.topic).items()}
    result.gone_records = sum(low for low, _ in marks.values())
    left, total = marks, sum(high - low for low, high in marks.values())
    for stretch, left in read_stretches(endpoints, result.topic, result.epoch, marks, decoder):
        accounting.take(stretch)
        done = 1 - sum(end - at for at, end in left.values()) / max(1, total)
        say(f"{result.topic}: {result.records:,} records, {done:.0%}")
    if any(at < end for at, end in left.values()):
        result.unread = why_unread(endpoints, result.topic, left)
    accounting.note_stored_again()
    accounting.compare_counts(marks)

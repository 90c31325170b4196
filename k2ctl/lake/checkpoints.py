"""The table's checkpoints and ledger, from one metadata file; a table that was rolled back is refused.

The properties are the checkpoints as long as their second copy says the same (`second_copy`). Of older snapshots only
the copies are left.

An embedded Kafka takes its log with it, and only who stops it knows how far it had come. The table keeps that too, so
that a consumer on any machine counts the same records as lost when it retires the epoch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import orjson
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import PROPERTY, SUMMARY_COMMIT_ID, SUMMARY_OFFERS, Checkpoints
from k2ctl.domain.recorded_feeds import FEEDS_PROPERTY, RecordedFeed, recorded_feeds
from k2ctl.errors import LakeError, RolledBack
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import called
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.second_copy import check_copies, has_copy, read_copy
from k2ctl.lake.side_folder import ledger_of

_STOP: Final = "Look at it with: k2ctl lake status. Going on would lose or double trades."


def checkpoints_of(table: Table) -> Checkpoints:
    """The offsets and counts that the table's current metadata holds.

    Raises:
        LakeError: rows without offsets. OffsetsDiffer: another program has changed them, or their second copy.
        RolledBack: offsets that the table's history cannot contain.
    """
    check_copies(table.metadata)
    current = table.metadata.current_snapshot()
    if PROPERTY not in table.metadata.properties and current is not None and _has_rows(current):
        raise LakeError(f"The table holds rows but no offsets ({PROPERTY} is missing).", _STOP)
    checkpoints = recorded_checkpoints(table)
    if checkpoints.commit_id and not history_may_contain(table.metadata, checkpoints):
        raise _rolled_back(table.metadata, checkpoints)
    return checkpoints


def recorded_checkpoints(table: Table) -> Checkpoints:
    """The checkpoints of the properties, even if they do not belong to the current snapshot."""
    text = table.metadata.properties.get(PROPERTY)
    return Checkpoints() if text is None else replace(Checkpoints.loads(text), ledger=ledger_of(table))


def feeds_in(table: Table) -> Mapping[str, RecordedFeed]:
    """Topic → its feed, as its consumer recorded it.

    Raises:
        LakeError: the property is damaged.
    """
    return recorded_feeds(table.metadata.properties.get(FEEDS_PROPERTY))


def _rolled_back(metadata: TableMetadata, checkpoints: Checkpoints) -> RolledBack:
    now, then = metadata.current_snapshot_id, snapshot_of_commit(metadata, checkpoints.commit_id)
    where = f"snapshot {then.snapshot_id}" if then else f"commit {checkpoints.commit_id}, whose snapshot has expired"
    way_back = " Or take it back: k2ctl lake undo-rollback" if then else ""
    return RolledBack(
        f"The table was rolled back: snapshot {now} is its current one, and its offsets are from {where}.",
        f"Keep it so, with its offsets of then: k2ctl lake accept-rollback.{way_back}",
    )


def _has_rows(snapshot: Snapshot) -> bool:
    if snapshot.summary is None:
        return True
    return snapshot.summary.additional_properties.get("total-records", "0") != "0"


def history_may_contain(metadata: TableMetadata, checkpoints: Checkpoints) -> bool:
    """True if the commit that wrote the offsets is an ancestor of the current snapshot, or was one and expired."""
    for snapshot in ancestors(metadata):
        if commit_id_of(snapshot) == checkpoints.commit_id:
            return True
        if (snapshot.sequence_number or 0) <= checkpoints.sequence_number:
            return False
    # Every ancestor still known is younger than that commit: it has expired, or there is no snapshot at all.
    return metadata.current_snapshot() is not None


def is_in_history(table: Table, commit_id: str) -> bool:
    """True if a K2 commit is in the table's history, as far as its snapshots have not expired."""
    return any(commit_id_of(snapshot) == commit_id for snapshot in ancestors(table.metadata))


def in_history(table: Table, offer_ids: Iterable[str]) -> set[str]:
    """Those of some offers that the table's history has taken, as far as its snapshots have not expired."""
    found = set[str]()
    for snapshot in ancestors(table.metadata):
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        found |= {summary.get(SUMMARY_COMMIT_ID, ""), *summary.get(SUMMARY_OFFERS, "").split()}
    return {offer_id for offer_id in offer_ids if offer_id in found or _in_short(offer_id) in found}


def offers_summary(commit_id: str, offer_ids: Sequence[str]) -> dict[str, str]:
    """What a snapshot says of the offers that it took; nothing where it is the commit of one, whose id it has.

    Sixty bits of each id: all summaries are written with every commit.
    """
    if list(offer_ids) == [commit_id]:
        return {}
    return {SUMMARY_OFFERS: " ".join(map(_in_short, offer_ids))}


def _in_short(offer_id: str) -> str:
    return offer_id.replace("-", "")[:16]


def ancestors(metadata: TableMetadata, snapshot: Snapshot | None = None) -> Iterator[Snapshot]:
    """A snapshot, by default the current one, and its ancestors, newest first, as far as they have not expired."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    snapshot = snapshot or metadata.current_snapshot()
    while snapshot is not None:
        yield snapshot
        snapshot = by_id.get(snapshot.parent_snapshot_id or -1)


def snapshot_of_commit(metadata: TableMetadata, commit_id: str) -> Snapshot | None:
    """The snapshot that a K2 commit made, in the history or not; None once it has expired."""
    return next((snapshot for snapshot in metadata.snapshots if commit_id_of(snapshot) == commit_id), None)


def commit_id_of(snapshot: Snapshot) -> str:
    """The id of the K2 commit that made a snapshot; empty for one of another program."""
    return (snapshot.summary.additional_properties.get(SUMMARY_COMMIT_ID) or "") if snapshot.summary else ""


def offsets_at(table: Table, snapshot: Snapshot) -> Checkpoints:
    """The checkpoints at a snapshot. Appends of other programs, and compactions, move no offsets.

    Raises:
        LakeError: no snapshot that is left has them.
    """
    for one in ancestors(table.metadata, snapshot):
        if has_copy(one):
            return read_copy(table, one).checkpoints
        # An expiry of pyiceberg's takes the parent off: only the table's very first snapshot has none before it.
        if (one.sequence_number or 0) <= 1:
            return Checkpoints()
    raise LakeError(
        f"The offsets that belong to snapshot {snapshot.snapshot_id} are not kept any more.",
        "Undo the rollback: k2ctl lake undo-rollback",
    )


ENDED: Final = "k2.ended-epochs"
_KEPT: Final = 20
"""A metadata file has all of them, and each commit writes one."""

HighWatermarks = Mapping[str, Mapping[int, int]]
"""topic → partition → high watermark"""


def note_end(lake: Lake, clock: Clock, epoch: str, marks: HighWatermarks) -> None:
    """Write down how far a Kafka has come that is about to go; makes the table where there is none yet.

    Raises:
        LakeError: the table or its catalog cannot be used.
    """

    def once(_: Try) -> None:
        table = lake.ensure_table()
        ended = list({**ended_epochs(table), epoch: marks}.items())[-_KEPT:]
        with QuickTransaction(table) as transaction:
            document = orjson.dumps(dict(ended), option=orjson.OPT_NON_STR_KEYS)
            transaction.set_properties({ENDED: document.decode()})

    commit_optimistically(once, what="The end of a Kafka", hint="See: k2ctl stack status", clock=clock, within_s=5.0)


def ended_epochs(table: Table) -> dict[str, HighWatermarks]:
    """How far each embedded Kafka had come when it was stopped, oldest first; one that was killed is not in it.

    Raises:
        LakeError: the property is damaged.
    """
    try:
        return {
            epoch: {topic: {int(p): int(high) for p, high in highs.items()} for topic, highs in topics.items()}
            for epoch, topics in orjson.loads(table.metadata.properties.get(ENDED, "{}")).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise LakeError(
            f"The table property {ENDED} cannot be read: {error}",
            "Without it unread records of past Kafkas are not counted: "
            f"ALTER TABLE {called(table)} UNSET TBLPROPERTIES ('{ENDED}'), in Spark",
        ) from error

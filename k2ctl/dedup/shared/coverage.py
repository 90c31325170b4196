"""How the coverage of a partition moves: by claims, by confirmations and by healing. Redis' scripts do the same."""

from dataclasses import replace

from k2ctl.dedup.shared.claims import Coverage, Covered
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition


def when_claimed(before: Coverage | None, base: str) -> Coverage:
    """A batch was claimed, to be put on a base. Where nothing was known, what is claimed begins there."""
    return replace(before or Coverage(base, base, 0), claimed_on=base)


def when_confirmed(before: Coverage | None, base: str, moved: Coverage) -> Coverage:
    """Its commit is in the table. What was claimed before joins it, or only claims from its base on count."""
    joined = before or Coverage(base, base, 0, base)
    since = joined.since if joined.commit_id == base else base
    return Coverage(since, moved.commit_id, moved.sequence_number, joined.claimed_on)


def when_healed(now: Coverage | None, before: Coverage | None, healed: Coverage) -> Coverage:
    """Everything up to `healed` is claimed; `before` is what was known when the healing began."""
    if now is None or (before is not None and (now.since, now.commit_id) == (before.since, before.commit_id)):
        return Coverage("", healed.commit_id, healed.sequence_number, now.claimed_on if now else "")
    joins = healed.commit_id in (now.since, now.commit_id)
    return replace(now, since="") if joins else now


def uncovered(covered: Covered, table: Checkpoints, topic: str | None) -> list[TopicPartition]:
    """The partitions of a topic (None: of all) that `table` has further than they are covered.

    An epoch that is gone counts, too: its rows may be of the last hour. Of a table that is older than what is covered
    nothing is missing.
    """
    missing = []
    for partition, stands in table.by_partition.items():
        known = covered.by_partition.get(partition)
        is_newer = known is not None and not known.since and known.sequence_number > table.sequence_number
        if topic in (None, partition.topic) and not (known and (is_newer or known.reaches(stands.commit_id))):
            missing.append(partition)
    return missing

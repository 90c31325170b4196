"""The platform at a glance: the statuses of all consumers and load generators as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from k2ctl.domain.checkpoint import COUNT_NAMES, Counts
from k2ctl.domain.figure import combined, total
from k2ctl.domain.status import ConsumerStatus, Figures, LoadStatus


@dataclass(frozen=True, kw_only=True)
class Overview(Figures, Counts):
    """One tick of `watch`. The level is the worst of all consumers, and reason, ladder and cooldown are that one's.

    The terms of the accounting identity are the table's, for the topics that are consumed; `pending` completes it.
    """

    # Records in Kafka and not in the table.
    lag_records: int | None
    # Trades per second that the load generators send; None if there is none.
    rate_loaded: float | None
    consumers: list[ConsumerStatus]
    loaders: list[LoadStatus]

    @classmethod
    def of(
        cls,
        consumers: Sequence[ConsumerStatus],
        loaders: Sequence[LoadStatus] = (),
        highs: Mapping[str, Mapping[int, int]] | None = None,
        at_us: int = 0,
    ) -> "Overview":
        """Aggregate statuses. highs: topic → partition → high watermark, as Kafka has it now."""
        records = [_behind(status, (highs or {}).get(status.topic)) for status in consumers]
        measured = [_with_lag(*pair) for pair in zip(consumers, records, strict=True)]
        tables = _newest_of_topics(consumers)
        counts = sum((status.counts for status in tables), Counts())
        worst_first = sorted(measured, key=lambda status: -status.level_number)
        return cls(
            at_us=at_us,
            lag_records=_whole(total(records)),
            rate_loaded=sum(status.rate for status in loaders) if loaders else None,
            consumers=list(consumers),
            loaders=list(loaders),
            **{name: getattr(counts, name) for name in COUNT_NAMES},
            **combined(Figures, worst_first, tables),
        )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _with_lag(status: ConsumerStatus, behind: int | None) -> ConsumerStatus:
    """With the lag to the watermarks of now."""
    trades = None if behind is None else round(behind * status.trades_per_record)
    return replace(status, lag_committed_trades=trades)


def _behind(status: ConsumerStatus, highs: Mapping[int, int] | None) -> int | None:
    """Records between what a consumer has committed and the end of its partitions."""
    if highs is None:
        return None
    return sum(max(0, highs.get(part.partition, 0) - part.committed) for part in status.partitions)


def _newest_of_topics(consumers: Sequence[ConsumerStatus]) -> list[ConsumerStatus]:
    """One status for each topic: for figures of the whole table, that of the latest commit."""
    newest: dict[str, ConsumerStatus] = {}
    for status in sorted(consumers, key=lambda status: (status.table_sequence, status.at_us)):
        newest[status.topic] = status
    return list(newest.values())

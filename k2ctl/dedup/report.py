"""What running consumers report of deduplication, held against the plan; for people, and as JSON."""

from dataclasses import dataclass
from typing import Final

from k2ctl.domain.dedup_status import DedupStatus, all_dedup
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.telemetry import TelemetryReader

FIRST_WORD_S: Final = 1.5
"""How long is waited for reports: an idle consumer's come every two seconds, and one looks a few seconds back."""


@dataclass(frozen=True)
class DedupFigures:
    """The counts of one consumer or of all, and what follows from them. None: nothing was measured."""

    counts: DedupStatus
    # Ids that a Bloom chunk called seen, and ids that were tested and in no chunk.
    bloom_hits: int
    new_ids_tested: int
    # The part of the new ids that a chunk called seen, and that part by the planned one.
    false_positive_rate: float | None
    of_planned_rate: float | None
    # Chunks that an id was tested against, on average.
    chunks_an_id: float | None
    # Queries of the lake, and how long one took on average.
    lookups: int
    mean_lookup_s: float | None

    @classmethod
    def of(cls, counts: DedupStatus) -> "DedupFigures":
        """What follows from some counts."""
        rate, planned, lookups = counts.false_positive_rate, counts.planned_error_rate, counts.queries
        return cls(
            counts,
            counts.bloom_hits,
            counts.new_ids_tested,
            rate,
            rate / planned if rate is not None and planned else None,
            counts.chunk_tests / counts.ids_tested if counts.ids_tested else None,
            lookups,
            counts.lookups.total_s / lookups if lookups else None,
        )


@dataclass(frozen=True)
class DedupReport:
    """Deduplication of a topic, since its consumers started."""

    topic: str
    # By the ids of the consumers.
    consumers: dict[str, DedupFigures]
    all: DedupFigures
    # Why nothing is known; empty where it was asked.
    unknown: str = ""


def reported(endpoints: Endpoints, topic: str, wait_s: float = FIRST_WORD_S) -> DedupReport:
    """What the consumers of a topic say now; nothing, and why, where Kafka does not answer."""
    try:
        reader = TelemetryReader(endpoints)
    except BrokerError as error:
        return DedupReport(topic, {}, DedupFigures.of(DedupStatus()), first_line(error))
    try:
        found = reader.look(wait_s).consumers
    finally:
        reader.close()
    counts = {name: status.dedup for name, status in sorted(found.items()) if status.topic == topic}
    figures = {name: DedupFigures.of(one) for name, one in counts.items()}
    return DedupReport(topic, figures, DedupFigures.of(all_dedup(list(counts.values()))))

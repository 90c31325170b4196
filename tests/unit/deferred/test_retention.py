"""Whether trades may be left in Kafka, and when they have to leave it."""

from dataclasses import replace

import pytest

from k2ctl.clock import ManualClock
from k2ctl.deferred.retention import RECORD_OVERHEAD_BYTES, LogRoom, RetentionWatch
from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.embedded import RETENTION_BYTES
from k2ctl.kafka.reader import Fetched

EMBEDDED, LOCAL = (Endpoints(engine, "127.0.0.1:1", "sqlite://", "file:///nowhere") for engine in ("embedded", "local"))

BYTES = 1024 - RECORD_OVERHEAD_BYTES
KEPT = RETENTION_BYTES // 1024
"""Records of `BYTES` that a log keeps."""


def room(*, high: int | None, needed_from: int = 0) -> LogRoom:
    found = LogRoom(0.3)
    found.note_read(Fetched.of_values([bytes(BYTES)]))
    found.follow({0: high}, {0: needed_from})
    return found


@pytest.mark.parametrize(
    ("high", "needed_from", "fits"),
    [(0.29 * KEPT, 0, True), (0.31 * KEPT, 0, False), (2.0 * KEPT, 1.8 * KEPT, True), (None, 0, False)],
)
def test_more_fits_while_the_log_is_short_since_the_first_trade_that_is_needed(
    high: float | None, needed_from: float, fits: bool
) -> None:
    assert room(high=None if high is None else int(high), needed_from=int(needed_from)).fits([0]) == fits


def test_nothing_fits_while_the_size_of_records_is_unknown() -> None:
    unknown = LogRoom(0.3)
    unknown.follow({0: 10}, {0: 0})
    assert not unknown.fits([0])


def test_records_count_as_large_as_they_ever_were() -> None:
    found = room(high=int(0.2 * KEPT))
    found.note_read(Fetched.of_values([b""]))
    assert found.fits([0])
    found.note_read(Fetched.of_values([bytes(2 * BYTES)]))
    assert not found.fits([0])


@pytest.mark.parametrize(("start", "presses"), [(0.5, True), (0.6, False)])
def test_a_range_presses_before_the_log_has_half_of_what_it_keeps_behind_it(start: float, presses: bool) -> None:
    watch = RetentionWatch(EMBEDDED, "t", 86_400.0, ManualClock(), shed_fraction=0.3)
    assert watch.room is not None
    watch.room.note_read(Fetched.of_values([bytes(BYTES)]))
    watch.room.follow({0: KEPT}, {0: 0})
    entry = DeferredRange("t", "e", 0, int(start * KEPT), KEPT, 0b1000, "policy", 2, 42, 1_000, 2_000)
    assert watch.presses(Ledger((entry,))) == presses
    assert not watch.presses(Ledger((replace(entry, spill="a file"),)))


def test_the_embedded_engine_holds_what_fits_and_only_where_the_profile_says_so() -> None:
    shedding, spilling = (RetentionWatch(EMBEDDED, "t", 86_400.0, ManualClock(), shed_fraction=of) for of in (0.3, 0.0))
    assert (shedding.may_hold, shedding.holds_long_enough) == (True, False)
    assert (spilling.may_hold, spilling.fits([])) == (False, False)


def test_a_real_kafka_holds_whatever_it_keeps_for_an_hour() -> None:
    kept, brief = (RetentionWatch(LOCAL, "t", seconds, ManualClock()) for seconds in (3_600.0, 3_599.0))
    assert kept.holds_long_enough
    assert kept.fits([0])
    assert not brief.may_hold

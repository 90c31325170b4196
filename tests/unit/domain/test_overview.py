"""Several consumers as one platform: lags add up, the table is counted once."""

from dataclasses import fields

import orjson
import pytest

from k2ctl.domain.checkpoint import COUNT_NAMES, Counts
from k2ctl.domain.figure import figures_of
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus, Figures, loads
from k2ctl.domain.status_parts import PartitionStatus, SequenceCounts, StateSyncStatus, Transition
from tests.support.statuses import a_status

HIGHS = {"t": dict.fromkeys(range(4), 100)}
BEHIND = a_status(
    "idle", level="SOFT", level_number=1, level_reason="idle", table_sequence=7, at_us=2_000_000,
    counts=Counts(seen=500, stored=500), partitions=[PartitionStatus(p, 100, 90, 100) for p in (0, 2)],
    sequence=SequenceCounts(open_gaps=1, missing_trades=2), outstanding=9,
)  # fmt: skip
AHEAD = a_status(
    "busy", table_sequence=9, at_us=1_000_000, counts=Counts(seen=800, stored=800), outstanding=4,
    partitions=[PartitionStatus(1, 100, 95, 100), PartitionStatus(3, 100, 100, 100)],
    sequence=SequenceCounts(open_gaps=1, missing_trades=2),
)  # fmt: skip
BOTH_ORDERS = pytest.mark.parametrize("consumers", [[BEHIND, AHEAD], [AHEAD, BEHIND]])


@BOTH_ORDERS
def test_the_level_is_the_worst_and_its_reason_that_consumers(consumers: list[ConsumerStatus]) -> None:
    seen = Overview.of(consumers, highs=HIGHS)
    assert (seen.level, seen.level_number, seen.level_reason) == ("SOFT", 1, "idle")


@BOTH_ORDERS
def test_lags_and_counts_of_consumers_add_up(consumers: list[ConsumerStatus]) -> None:
    seen = Overview.of(consumers, highs=HIGHS)
    assert (seen.lag_trades, seen.lag_records, seen.lag_committed_trades) == (20, 25, 50)
    assert (seen.pending, seen.sequence.open_gaps, seen.sequence.missing_trades) == (6, 2, 4)
    assert seen.by_priority["LOW"]["process"] == 2


@BOTH_ORDERS
def test_the_table_is_counted_once_as_the_latest_commit_left_it(consumers: list[ConsumerStatus]) -> None:
    seen = Overview.of(consumers, highs=HIGHS)
    assert {term: getattr(seen, term) for term in COUNT_NAMES if getattr(seen, term)} == {"seen": 800, "stored": 800}
    assert seen.outstanding == 4


def test_a_lag_that_one_consumer_does_not_know_is_unknown() -> None:
    seen = Overview.of([AHEAD, a_status(lag_trades=None, lag_seconds=None)], highs={})
    assert seen.lag_trades is None
    assert seen.lag_seconds is None
    assert seen.lag_records is None


def test_without_a_consumer_the_level_is_unknown_and_the_way_out_is_named() -> None:
    seen = Overview.of([])
    assert seen.level == "UNKNOWN"
    assert seen.level_reason.endswith("k2ctl consume")
    assert seen.lag_trades is None


def test_a_reduced_guarantee_and_a_failing_background_task_of_one_consumer_show() -> None:
    reduced = StateSyncStatus("redis", "REDUCED", "redis does not answer")
    troubled = a_status(state=reduced, maintenance_error="OSError: full", dedup_save_error="read-only")
    seen = Overview.of([a_status(state=StateSyncStatus("redis", "SHARED", "")), troubled])
    assert seen.state == reduced
    assert seen.maintenance_error == "OSError: full"
    assert seen.dedup_save_error == "read-only"


def test_every_figure_that_all_consumers_share_says_how_several_make_one() -> None:
    declared = {name for name, figure in figures_of(Figures) if figure.combine is not None}
    assert declared == {field.name for field in fields(Figures)} - {"at_us"}


def test_a_status_and_an_overview_are_the_same_after_their_json() -> None:
    transitions = [Transition(1, "NORMAL", "SOFT", "lag 9 ≥ 8 trades")]
    status = a_status(
        state=StateSyncStatus("redis", "SHARED", ""), transitions=transitions, partitions=BEHIND.partitions
    )
    assert loads(ConsumerStatus, orjson.dumps(status)) == status
    overview = Overview.of([status, AHEAD], highs=HIGHS)
    assert loads(Overview, orjson.dumps(overview)) == overview


def test_the_json_of_an_overview_has_the_names_that_scripts_rely_on() -> None:
    document = orjson.loads(orjson.dumps(Overview.of([AHEAD], highs=HIGHS)))
    assert {"level", "lag_trades", "lag_seconds", "pending", *COUNT_NAMES} <= document.keys()
    assert document["stored"] == 800


def test_a_status_with_a_figure_missing_or_of_another_type_is_refused() -> None:
    document = orjson.loads(orjson.dumps(a_status()))
    with pytest.raises(ValueError, match="lag_trades"):
        loads(ConsumerStatus, orjson.dumps({**document, "lag_trades": "many"}))
    del document["lag_seconds"]
    with pytest.raises(ValueError, match="lag_seconds"):
        loads(ConsumerStatus, orjson.dumps(document))

"""`verify` on a real stack: green when all is well, and it names what was done to the table behind its back."""

import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from k2ctl.checks.verify import slots as slots_module
from k2ctl.checks.verify.slots import IN_TAIL, Interval, Sessions, Slots
from k2ctl.checks.verify.verification import failed, verify
from k2ctl.domain.checksums import checksums
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.domain.rows import trades_of
from k2ctl.domain.trade import decode
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.kafka.reader import read_between
from k2ctl.lake.readers import Placed
from k2ctl.load.acknowledged_log import FAILED, SENT, AcknowledgedLog, Run, acknowledged_log_dir, read, write
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.load.sent_intervals import INTERVAL
from k2ctl.profiles import Profile
from tests.made_trades import make_trades, quick_profile
from tests.support.platforms import with_lake
from tests.support.verified import consumed, loaded, only, rewrite


@pytest.fixture
def profile(exchange: str) -> Profile:
    quick = quick_profile()
    return quick.model_copy(update={"market": quick.market.model_copy(update={"exchange": exchange})})


@pytest.mark.parametrize(("frame", "workers"), [(1, 1), (9, 2)])
def test_what_was_acknowledged_is_found_in_the_tail_and_then_in_the_table(
    endpoints: Endpoints, profile: Profile, frame: int, workers: int
) -> None:
    sent = loaded(endpoints, profile, frame=frame, workers=workers)
    before = only(endpoints)
    assert before.holds
    assert (before.in_lake, before.acknowledged) == (0, sent)
    assert before.in_tail == before.expected == sent - before.copies
    assert before.copies > 20
    consumed(endpoints, profile)
    after = only(endpoints)
    assert after.holds
    assert (after.in_lake, after.in_tail) == (before.expected, 0)
    assert failed([after]) is None


def test_a_deleted_an_altered_and_a_doubled_row_are_named(embedded_stack: Endpoints, home: Path, exchange: str) -> None:
    """All three at once, each of a symbol of its own; and nothing else is blamed."""
    profile = quick_profile()
    profile = profile.model_copy(update={"market": profile.market.model_copy(update={"exchange": exchange})})
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    consumed(endpoints, profile)
    touched: dict[str, int] = {}

    def tamper(rows: pa.Table) -> pa.Table:
        at = {name: pc.index(rows["symbol"], name).as_py() for name in ("BHP", "CBA", "CSL")}
        touched.update({name: rows["source_sequence"][place].as_py() for name, place in at.items()})
        one = np.zeros(len(rows), np.bool_)
        one[at["CBA"]] = True
        price = pc.if_else(pa.array(one), pa.scalar(Decimal("0.01"), rows["price"].type), rows["price"])
        changed = rows.set_column(rows.schema.get_field_index("price"), rows.schema.field("price"), price)
        kept = np.delete(np.arange(len(rows)), at["BHP"])
        return changed.take(pa.array(np.append(kept, at["CSL"])))

    rewrite(endpoints, tamper)
    result = only(endpoints)
    found = {finding.fault: finding for finding in result.findings}
    assert set(found) == {"missing", "altered", "duplicated"}
    for fault, name in (("missing", "BHP"), ("duplicated", "CSL")):
        assert (found[fault].symbol, found[fault].first, found[fault].last) == (name, touched[name], touched[name])
    assert found["altered"].symbol == "CBA"
    assert found["altered"].first <= touched["CBA"] <= found["altered"].last
    error = failed([result])
    assert error is not None
    assert error.exit_code == 3


def test_trades_that_changed_places_are_out_of_order(embedded_stack: Endpoints, home: Path, exchange: str) -> None:
    profile = quick_profile()
    profile = profile.model_copy(update={"market": profile.market.model_copy(update={"exchange": exchange})})
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    consumed(endpoints, profile)

    def swap(rows: pa.Table) -> pa.Table:
        ordered = rows.sort_by([("symbol", "ascending"), ("kafka_offset", "ascending")])
        first = pc.index(ordered["symbol"], "BHP").as_py()
        places = ordered["kafka_offset"].to_numpy().copy()
        places[first], places[first + 40] = places[first + 40], places[first]
        at = ordered.schema.get_field_index("kafka_offset")
        return ordered.set_column(at, ordered.schema.field("kafka_offset"), pa.array(places))

    rewrite(endpoints, swap)
    result = only(endpoints)
    assert {(finding.fault, finding.symbol, finding.column) for finding in result.findings} == {
        ("out of order", "BHP", ""),
        ("altered", "BHP", "kafka_offset"),
    }


def test_trades_of_others_are_counted_and_are_no_error(embedded_stack: Endpoints, home: Path, profile: Profile) -> None:
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    topic = profile.trades_topic
    BatchProducer(endpoints, topic, 1).send_all(make_trades(30), np.array([30, 0, 0, 0]))
    result = only(endpoints)
    assert result.holds
    assert result.foreign == 30


def test_a_trade_of_another_symbol_that_has_a_load_s_id_is_another_s_and_no_error(
    embedded_stack: Endpoints, home: Path, profile: Profile
) -> None:
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    topic = profile.trades_topic
    fetched, _, _ = read_between(endpoints, topic, {0: (0, 1)}, 10.0, 1)
    like = decode(fetched.values).trades[[0, 0]]
    like["symbol"] = b"OTHER1", b"OTHER2"
    BatchProducer(endpoints, topic, 1).send_all(like, np.array([2, 0, 0, 0]))
    consumed(endpoints, profile)
    result = only(endpoints)
    assert (result.findings, result.foreign) == ([], 2)


def test_in_several_passes_it_finds_the_same_and_counts_others_once(
    embedded_stack: Endpoints, home: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    topic = profile.trades_topic
    BatchProducer(endpoints, topic, 1).send_all(make_trades(30), np.array([30, 0, 0, 0]))
    consumed(endpoints, profile)
    at_once = only(endpoints)
    monkeypatch.setattr(slots_module, "SLOTS_A_PASS", 500)
    said: list[str] = []
    (in_parts,) = verify(endpoints, said.append)
    assert "part 3 of" in " ".join(said)
    assert at_once.foreign == 30
    assert in_parts == at_once


def test_what_failed_and_is_not_there_is_uncertain_and_no_fault(
    embedded_stack: Endpoints, home: Path, profile: Profile
) -> None:
    """Its neighbours are still compared: the sum of their stretch is taken without it."""
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    consumed(endpoints, profile)
    gone: list[pa.Table] = []

    def lose(rows: pa.Table) -> pa.Table:
        at = pc.index(rows["symbol"], "BHP").as_py()
        gone.append(rows.slice(at, 1))
        return rows.take(pa.array(np.delete(np.arange(len(rows)), at)))

    rewrite(endpoints, lose)
    assert only(endpoints).faults["missing"] == 1
    note_as_failed(trades_of(gone[0].combine_chunks().to_batches()[0]))
    result = only(endpoints)
    assert result.holds
    assert (result.uncertain, result.uncompared) == (1, 0)


def note_as_failed(trades: np.ndarray) -> None:
    """As a load does when Kafka does not confirm a delivery."""
    (path,) = acknowledged_log_dir(Home.of_user()).iterdir()
    log = read(path)
    failures = np.empty(len(trades), FAILED)
    failures["session"], failures["number"] = sessions_and_numbers(trades)
    failures["sum"], failures["times"] = checksums(trades)
    write(path, replace(log, failed=failures), durable=False)


def test_replays_that_overlap_in_part_are_never_called_altered() -> None:
    """Numbers 1 to 6 of one run, 4 to 9 of another: what only the first sent cannot be compared, and that is said."""
    trades = make_trades(9 * 20)[::20]
    logs = [
        AcknowledgedLog(RUN, sent_of(part), interval_of(part), np.zeros(0, FAILED)) for part in (trades[:6], trades[3:])
    ]
    sessions = Sessions.of(logs, np.zeros(0, np.uint64))
    altered = []
    for change in (0, 1):
        trades["price"]["low"][7] += change
        slots = Slots(sessions, np.arange(1))
        slots.take(Placed(trades, np.arange(9)), IN_TAIL)
        altered.append(slots.altered())
    assert altered == [([], [], 3), ([Interval("S00", 4, 9, 6)], [], 3)]


def test_numbers_years_apart_take_no_memory_between_them() -> None:
    """Of a symbol of which two archives were replayed; in one file, in two, and with one trade that is missing."""
    trades = make_trades(60 * 20)[::20]
    number = np.concatenate([np.arange(20), np.arange(20) + 5_000_000_000, np.arange(20) + (1 << 62)])
    trades["message_id"] = id_of(trades, number)
    parts = [trades[:20], trades[20:40], trades[40:]]
    logs = [AcknowledgedLog(RUN, sent_of(part), interval_of(part), np.zeros(0, FAILED)) for part in parts]
    sessions = Sessions.of(logs, np.zeros(0, np.uint64))
    assert sessions.sizes.tolist() == [20, 20, 20]
    (chosen,) = sessions.passes()
    slots = Slots(sessions, chosen)
    slots.take(Placed(np.delete(trades, 25), np.arange(59)), IN_TAIL)
    assert slots.runs(slots.missing()) == [Interval("S00", 5_000_000_005, 5_000_000_005, 1)]
    assert slots.unexpected_of == {}
    assert slots.altered()[0] == []
    slots.take(Placed(trades[25:26], np.arange(1)), IN_TAIL)
    assert not slots.missing().any()
    stray = trades[:1].copy()
    stray["message_id"] = id_of(stray, np.array([3_000_000_000]))
    slots.take(Placed(stray, np.arange(1)), IN_TAIL)
    assert slots.unexpected_of == {"S00": (3_000_000_000, 3_000_000_000, 1)}


def id_of(trades: np.ndarray, number: np.ndarray) -> np.ndarray:
    """V16[n]: ids with other numbers of the same sessions."""
    words = np.stack([sessions_and_numbers(trades)[0], number.astype(np.uint64)], axis=1)
    return np.asarray(words.astype(">u8").view("V16")[:, 0])


RUN = Run("run", 0, "topic", "epoch", "sbe", 0, 6, 6, finished=True)


def sent_of(trades: np.ndarray) -> np.ndarray:
    return np.array([(sessions_and_numbers(trades)[0][0], b"S00", 0, 0)], SENT)


def interval_of(trades: np.ndarray) -> np.ndarray:
    session, number = sessions_and_numbers(trades)
    sums = (values.sum() for values in checksums(trades))
    return np.array([(session[0], number[0], number[-1], *sums)], INTERVAL)


def test_a_load_that_was_killed_is_held_to_what_it_had_acknowledged(
    embedded_stack: Endpoints, home: Path, profile: Profile
) -> None:
    endpoints = with_lake(embedded_stack, home)
    loaded(endpoints, profile)
    consumed(endpoints, profile)
    (path,) = acknowledged_log_dir(Home.of_user()).iterdir()
    log = read(path)
    run = replace(log.run, finished=False, acknowledged=log.run.acknowledged - 100)
    write(path, replace(log, run=run), durable=False)
    assert only(endpoints).holds
    rewrite(endpoints, lambda rows: rows.filter(pc.not_equal(rows["symbol"], "BHP")))
    result = only(endpoints)
    assert not result.holds
    assert result.too_few > 100, "no number of BHP is known to be lost, but fewer are there than acknowledged"


def test_without_a_recorded_load_it_says_so(embedded_stack: Endpoints, home: Path) -> None:
    with pytest.raises(CheckFailed, match="No load has been recorded"):
        verify(with_lake(embedded_stack, home), lambda _: None)


def test_a_replay_is_held_to_its_files(endpoints: Endpoints, profile: Profile, asx: Path) -> None:
    """Twice the same file: the second time every trade is a copy, which the consumer drops."""
    small = asx / "7181.csv"
    for _ in range(2):
        run_load(plan_load(profile, replay=replay_plan(str(small))), endpoints, threading.Event())
    consumed(endpoints, profile)
    result = only(endpoints)
    assert result.holds, result.findings
    assert result.acknowledged == 2 * result.expected == 2 * result.in_lake > 0


def test_the_topic_of_a_load_is_still_known(embedded_stack: Endpoints, profile: Profile) -> None:
    """A record of a topic that is gone is of an earlier Kafka, and no traceback."""
    loaded(embedded_stack, profile)
    with BrokerAdmin(embedded_stack) as admin:
        admin.delete_topic(profile.trades_topic)
    with pytest.raises(CheckFailed, match="earlier"):
        verify(embedded_stack, lambda _: None)

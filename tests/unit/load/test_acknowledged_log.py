"""What a load writes down: intervals with sums, whatever the batches were; and files that are whole or refused."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.checked_file import body_of, framed
from k2ctl.domain.checksums import checksums
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.errors import CheckFailed, K2Error
from k2ctl.home import Home
from k2ctl.load import acknowledged_log_writer as module
from k2ctl.load.acknowledged_log import (
    MAGIC,
    AcknowledgedLog,
    Run,
    acknowledged_log_dir,
    read,
    recorded,
)
from k2ctl.load.acknowledged_log_writer import AcknowledgedLogWriter
from k2ctl.load.market import Faults, SyntheticMarket
from k2ctl.load.sent_intervals import BLOCK, joined
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from tests.made_trades import SYMBOLS, make_trades

RUN = Run("run", 0, "topic", "epoch", "sbe", 0, 0, 0, finished=False)


def recorder_of(trades: np.ndarray) -> AcknowledgedLogWriter:
    return AcknowledgedLogWriter(
        RUN, dict.fromkeys(np.unique(sessions_and_numbers(trades)[0]).tolist(), b"S00"), home=Home.of_user()
    )


def written(recorder: AcknowledgedLogWriter) -> AcknowledgedLog:
    recorder.finish(0, 0)
    (log,) = recorded(Home.of_user())
    return log


def sums_of(trades: np.ndarray) -> tuple[int, int]:
    content, times = checksums(trades)
    return int(content.sum()), int(times.sum())


def in_symbol_order(trades: np.ndarray) -> np.ndarray:
    return trades[np.argsort(trades["symbol"], kind="stable")]


@pytest.mark.parametrize("settle_after", [1, 3, 1000])
@pytest.mark.parametrize("size", [7, 640, 50_000])
def test_however_trades_come_in_batches_the_intervals_say_the_same(
    size: int, settle_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_AFTER", settle_after)
    trades = make_trades(50_000)
    recorder = recorder_of(trades)
    for at in range(0, len(trades), size):
        recorder.add(in_symbol_order(trades[at : at + size]))
        if at == size * 2:
            recorder.save_if_due(0, 0)
    found = joined(written(recorder).intervals)
    session, number = sessions_and_numbers(trades)
    expected = [
        (name, low, high, *sums_of(trades[(session == name) & (number >= low) & (number <= high)]))
        for name in np.unique(session).tolist()
        for low, high in ((1, BLOCK - 1), (BLOCK, 2 * BLOCK - 1), (2 * BLOCK, 2500))
    ]
    assert found.tolist() == [tuple(np.array(row, np.uint64).tolist()) for row in expected]


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([1, 2, 40, 3_000, 9_000]), min_size=1, max_size=8),
    st.sampled_from([1, 2, 500]),
    st.sampled_from([1, 5_000, 100_000]),
)
def test_what_the_sender_knows_of_its_trades_makes_the_log_that_their_ids_make(
    batches: list[int], symbols: int, add_up_after: int
) -> None:
    """One symbol has runs of several blocks; five hundred have runs of a few trades."""
    market = market_of(symbols)
    known, read_from_ids = (
        AcknowledgedLogWriter(replace(RUN, worker=at), market.sessions(), Home.of_user()) for at in (0, 1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ADD_UP_AFTER", add_up_after)
        for count in batches:
            batch = market.take(count, 0, 1_000)
            assert batch.known is not None
            known.add(batch.trades, batch.known)
            read_from_ids.add(batch.trades)
    for recorder in (known, read_from_ids):
        recorder.finish(0, 0)
    first, second = recorded(Home.of_user())
    assert np.array_equal(joined(first.intervals), joined(second.intervals))
    assert np.array_equal(first.sessions, second.sessions)


@pytest.mark.parametrize(
    "faults", [Faults(duplicates=0.1), Faults(gaps=0.1), Faults(out_of_order=0.1), Faults(corrections=0.1)]
)
def test_of_trades_that_were_sent_with_faults_nothing_is_taken_for_known(faults: Faults) -> None:
    assert market_of(3, faults).take(100, 0, 1_000).known is None


def market_of(symbols: int, faults: Faults | None = None) -> SyntheticMarket:
    profile = load_profile("laptop")
    market = profile.market.model_copy(update={"symbols": symbols})
    return SyntheticMarket(Universe(profile.model_copy(update={"market": market})), "run", faults=faults)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["next", "skip", "copy", "swap"])), max_size=80), st.data()
)
def test_faults_are_counted_and_every_number_that_was_sent_is_in_an_interval(
    moves: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Held to a model that goes through the trades one by one."""
    numbers = dict.fromkeys(range(4), 1)
    sent: list[tuple[int, int]] = []
    for symbol, move in moves:
        at = numbers[symbol]
        new = {"next": [at], "skip": [at + 1], "copy": [at, at], "swap": [at + 1, at]}[move]
        sent += [(symbol, number) for number in new]
        numbers[symbol] = max(new) + 1
    made = make_trades(4000)
    trades = np.array([made[symbol + (number - 1) * len(SYMBOLS)] for symbol, number in sent], made.dtype)
    recorder = recorder_of(make_trades(4))
    at = 0
    while at < len(trades):
        step = data.draw(st.integers(1, 30))
        # A copy follows its trade in the same batch.
        while at + step < len(trades) and sent[at + step] == sent[at + step - 1]:
            step += 1
        recorder.add(in_symbol_order(trades[at : at + step]))
        at += step
    log = written(recorder)
    for path in acknowledged_log_dir(Home.of_user()).iterdir():
        path.unlink()
    of_symbol = {symbol: [number for name, number in sent if name == symbol] for symbol in range(4)}
    pairs = {symbol: list(pairwise(of)) for symbol, of in of_symbol.items()}
    assert log.sessions["copies"].tolist() == [sum(a == b for a, b in pairs[s]) for s in range(4)]
    assert log.sessions["backwards"].tolist() == [sum(b < a for a, b in pairs[s]) for s in range(4)]
    inside = sorted(
        (int(row["session"]) - 7000, number)
        for row in log.intervals
        for number in range(int(row["low"]), int(row["high"]) + 1)
    )
    assert inside == sorted(set(sent))
    once = np.unique(trades["trade_id"], return_index=True)[1]
    assert (int(log.intervals["sum"].sum()), int(log.intervals["times"].sum())) == sums_of(trades[once])


def test_a_load_that_sent_nothing_writes_that_down() -> None:
    log = written(recorder_of(make_trades(20)))
    assert (len(log.sessions), len(log.intervals), len(log.failed)) == (20, 0, 0)


def recorded_file(trades: int = 20) -> Path:
    made = make_trades(trades)
    recorder = recorder_of(made)
    recorder.add(in_symbol_order(made))
    recorder.fail(made[:3])
    recorder.finish(trades, trades - 3)
    (path,) = acknowledged_log_dir(Home.of_user()).iterdir()
    return path


def test_a_byte_that_was_changed_or_is_gone_anywhere_is_reported_with_the_file_and_what_to_do() -> None:
    path = recorded_file()
    content = path.read_bytes()
    changes = [content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in range(len(content))]
    for changed in [*changes, *(content[:at] for at in range(0, len(content), 7))]:
        path.write_bytes(changed)
        with pytest.raises(CheckFailed, match=f"damaged.*{path.name}") as raised:
            read(path)
        assert str(path) in raised.value.hint
    path.write_bytes(content)
    assert read(path).run.acknowledged == 17


def test_what_another_version_wrote_is_refused_and_not_taken_for_altered() -> None:
    path = recorded_file()
    content = path.read_bytes()
    header, arrays = bytes(body_of(MAGIC, content)).split(b"\n", 1)
    body = json.dumps({**json.loads(header), "label": "of old"}).encode() + b"\n" + arrays
    path.write_bytes(framed(MAGIC, body))
    with pytest.raises(CheckFailed, match="another version"):
        read(path)
    np.savez(path.with_suffix(".npz"), run=np.zeros(3))
    path.with_suffix(".npz").replace(path)
    with pytest.raises(CheckFailed, match="another version"):
        read(path)


def test_a_write_that_was_cut_off_leaves_the_file_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_trades(100)
    recorder = recorder_of(made)
    recorder.add(in_symbol_order(made))
    recorder.save_if_due(100, 50)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    recorder.add(in_symbol_order(make_trades(100, 100)))
    with pytest.raises(K2Error, match="No space left") as raised:
        recorder.finish(200, 200)
    assert "load again" in raised.value.hint
    (log,) = recorded(Home.of_user())
    assert not log.run.finished
    assert log.run.acknowledged == 50
    assert len(log.failed) == 0
    assert replace(log.run, sent=0, acknowledged=0) == RUN


def test_holes_are_the_numbers_between_two_that_were_sent() -> None:
    trades = make_trades(50_000)
    _, number = sessions_and_numbers(trades)
    kept = trades[~np.isin(number, [1, 40, 41, 1024, number.max()])]
    recorder = recorder_of(trades)
    recorder.add(in_symbol_order(kept))
    sessions = len(np.unique(sessions_and_numbers(trades)[0]))
    assert written(recorder).holes == 3 * sessions

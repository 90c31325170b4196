"""Replays: exact figures, Sydney times, broken lines named by their numbers, the real files whole."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import RFC_4122, UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.conditions import pack
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.domain.decimals import as_decimal, as_int
from k2ctl.domain.texts import instant_text
from k2ctl.domain.trade import NO_SEQUENCE, nanos_of
from k2ctl.errors import UsageError
from k2ctl.feeds.files.alike import shifted
from k2ctl.feeds.files.reading import WantedTrades
from k2ctl.load.replay import ReplayPlan, ReplaySource, replay_plan
from k2ctl.load.replayed import ReplayedFiles
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from tests.made_trades import make_trades
from tests.support.feed_files import Everything, everything, opened

PROFILE = load_profile("laptop")
UNIVERSE = Universe(PROFILE)


def replayed(tmp_path: Path, text: str, name: str = "ABC.csv", exchange: str = "ASX") -> Everything:
    (tmp_path / name).write_text(text)
    return everything(tmp_path / name, "asx", exchange=exchange)


def test_prices_are_exact_and_times_are_sydneys(tmp_path: Path) -> None:
    summer = replayed(tmp_path, "03/10/2014,10:00:00.123,36.667,20000,3,X,\n")
    winter = replayed(tmp_path, "07/10/2014,10:00:00.123,0.00000001,1,0,,\n")
    (trade,) = summer.trades
    assert (as_decimal(trade["price"]), as_decimal(trade["quantity"])) == (Decimal("36.667"), 20_000)
    assert trade["event_ns"] == 1_394_406_000_123_000_000  # 9 March 23:00 UTC, eleven hours behind
    assert winter.trades["event_ns"][0] == 1_404_950_400_123_000_000  # ten hours in winter
    assert as_int(winter.trades["price"][0]) == 10_000
    assert (trade["symbol"], trade["trade_conditions"]) == (b"ABC", pack(["3", "X"]).rstrip(b"\0"))


LINE = "03/10/2014,13:55:41.879,1.11,1633,3,XT,7\n"
CHANGES = {
    "date": "03/11/2014,13:55:41.879,1.11,1633,3,XT,7\n",
    "time": "03/10/2014,13:55:41.878,1.11,1633,3,XT,7\n",
    "price": "03/10/2014,13:55:41.879,1.12,1633,3,XT,7\n",
    "volume": "03/10/2014,13:55:41.879,1.11,1634,3,XT,7\n",
    "qualifiers": "03/10/2014,13:55:41.879,1.11,1633,,XT,7\n",
    "venue": "03/10/2014,13:55:41.879,1.11,1633,3,,7\n",
    "buyer": "03/10/2014,13:55:41.879,1.11,1633,3,XT,8\n",
}


def ids_in(replay: Everything) -> list[UUID]:
    return [UUID(bytes=bytes(name)) for name in replay.trades["message_id"].tolist()]


def test_look_alikes_are_different_trades(tmp_path: Path) -> None:
    first = ids_in(replayed(tmp_path, LINE * 3))
    assert len(set(first)) == 3
    assert ids_in(replayed(tmp_path, LINE * 3)) == first
    assert ids_in(replayed(tmp_path, LINE * 2)) == first[:2]


@pytest.mark.parametrize("column", CHANGES)
def test_every_column_is_part_of_what_a_trade_is(tmp_path: Path, column: str) -> None:
    (one,), (other,) = ids_in(replayed(tmp_path, LINE)), ids_in(replayed(tmp_path, CHANGES[column]))
    assert one != other


def test_a_trade_of_another_symbol_or_venue_is_another(tmp_path: Path) -> None:
    here, symbol = replayed(tmp_path, LINE), replayed(tmp_path, LINE, "ABD.csv")
    venue = replayed(tmp_path, LINE, exchange="CXA")
    assert len({*ids_in(here), *ids_in(symbol), *ids_in(venue)}) == 3


LINES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["1", "1.10", "2"]), st.integers(1, 2)), min_size=1, max_size=25
)


@given(lines=LINES, kept=st.lists(st.booleans(), min_size=25, max_size=25))
def test_a_file_published_again_gives_every_trade_its_id_whatever_was_missing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int, str, int]], kept: list[bool]
) -> None:
    """And as many of the trades that look the same as the longer of the two files has."""
    folder = tmp_path_factory.mktemp("resent")
    texts = [f"03/10/2014,10:00:0{second}.0,{price},{volume},,,\n" for second, price, volume in sorted(lines)]
    first = [text for text, stays in zip(texts, kept, strict=False) if stays]
    whole = ids_in(replayed(folder, "".join(texts)))
    assert len(set(whole)) == len(texts)
    if first:
        assert set(ids_in(replayed(folder, "".join(first)))) <= set(whole)


def test_ids_are_uuids_that_no_sequence_number_can_be_part_of(tmp_path: Path) -> None:
    ids = ids_in(replayed(tmp_path, LINE * 50))
    assert {(name.version, name.variant) for name in ids} == {(8, RFC_4122)}
    assert all(name.int & (1 << 63) for name in ids)


def test_a_file_has_no_numbers_so_its_trades_have_none(tmp_path: Path) -> None:
    (trade,) = replayed(tmp_path, LINE).trades
    assert (trade["source_sequence"], trade["trade_id"]) == (NO_SEQUENCE, 0)


def test_broken_lines_are_counted_and_shown_with_their_numbers_and_the_rest_is_loaded(tmp_path: Path) -> None:
    text = (
        "03/10/2014,13:55:41.879,1.11,1633,0,,\n"
        "03/10/2014,13:55,1.11,1633,0,,\n"
        "only three,columns,here\n"
        "03/10/2014,13:55:42.000,-4.2,10,0,,\n"
        "\n"
        "13/40/2014,13:55:42.000,4.2,10,0,,\n"
        "03/10/2014,13:55:42.000,4.2,1e5,0,,\n"
        "03/10/2014,13:55:42.000,4.2,10,0,a very long venue name,\n"
        "03/10/2014,13:55:43.000,4.2,10,0,,\n"
    )
    replay = replayed(tmp_path, text)
    assert [line.partition(": ")[0] for line in replay.reasons] == [f"ABC.csv:{line}" for line in (2, 3, 4, 5, 6, 8)]
    assert replay.findings.broken_count == 6
    assert 'timestamp is "2014-03-10T13:55"' in replay.reasons[0]
    assert replay.reasons[1].endswith("3 columns, not 7")
    assert replay.reasons[2].endswith("price is -4.2, negative, which its asset class has not")
    assert [as_decimal(price) for price in replay.trades["price"]] == [Decimal("1.11"), Decimal("4.2"), Decimal("4.2")]


@pytest.mark.parametrize("text", ["", "\n\n", "not,a,trade\n", "\x00\xff\x00"])
def test_a_file_without_trades_is_an_error_with_a_next_step(tmp_path: Path, text: str) -> None:
    (tmp_path / "ABC.csv").write_text(text)
    with pytest.raises(UsageError, match="no trades of the feed asx") as raised:
        opened(tmp_path / "ABC.csv", "asx").require_trades()
    assert "k2ctl feed check" in raised.value.hint


@pytest.mark.parametrize("name", ["missing.csv", "empty"])
def test_a_path_with_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        everything(tmp_path / name, "asx")


def test_what_looks_like_asx_needs_no_feed_and_what_does_not_is_asked_for_one(tmp_path: Path) -> None:
    (tmp_path / "ABC.csv").write_text(LINE)
    assert replay_plan(str(tmp_path)).feed == "asx"
    (tmp_path / "ABC.csv").write_text("1,93576.01,0.1,9357.6,1735689600010866,False,True\n")
    with pytest.raises(UsageError, match="has to be said") as raised:
        replay_plan(str(tmp_path))
    assert "--feed NAME" in raised.value.hint


def test_files_are_merged_in_time_order_and_each_has_its_symbol(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("03/10/2014,10:00:02.0,1,1,0,,\n03/10/2014,10:00:04.0,1,1,0,,\n")
    (tmp_path / "2.csv").write_text("03/10/2014,10:00:01.0,2,1,0,,\n03/10/2014,10:00:03.0,2,1,0,,\n")
    (tmp_path / "company_info.csv").write_text("company_id,symbol\n1,AAA\n2,BBB\n")
    together = everything(tmp_path, "asx")
    assert together.trades["symbol"].tolist() == [b"BBB", b"AAA", b"BBB", b"AAA"]
    alone = [everything(tmp_path / name, "asx") for name in ("1.csv", "2.csv")]
    assert {*ids_in(alone[0]), *ids_in(alone[1])} == set(ids_in(together))


MINUTE = "03/10/2014,10:00:00.0,1,1,0,,\n03/10/2014,10:00:30.0,1,2,0,,\n03/10/2014,10:01:00.0,1,1,0,,\n"


@contextmanager
def source_of(tmp_path: Path, text: str, **settings: Any) -> Iterator[ReplaySource]:
    """A replay that has begun."""
    (tmp_path / "ABC.csv").write_text(text)
    plan = ReplayPlan(str(tmp_path / "ABC.csv"), "asx", **settings)
    source = ReplaySource(ReplayedFiles(opened(tmp_path / "ABC.csv", "asx")), UNIVERSE, plan)
    source.begin(lambda: False)
    yield source
    source.close()


def taken(source: ReplaySource) -> np.ndarray:
    """All that is left."""
    parts = []
    while sum(map(len, parts)) < source.total:
        due = int(source.due(1e9)) - sum(map(len, parts))
        parts.append(source.take(due, 0, 0).trades)
    return np.concatenate(parts)


def test_sixty_times_as_fast_is_a_sixtieth_of_the_time(tmp_path: Path) -> None:
    with source_of(tmp_path, MINUTE, speed=60.0) as source:
        assert [source.due(elapsed_s) for elapsed_s in (0.0, 0.4, 0.5, 0.9, 1.0)] == [1, 1, 2, 2, 3]
    with source_of(tmp_path, MINUTE) as source:
        assert source.due(0) == 3


def test_how_far_a_replay_is_says_where_to_go_on(tmp_path: Path) -> None:
    with source_of(tmp_path, MINUTE) as source:
        assert source.state().reached_ns is None
        source.due(0)
        source.take(2, 0, 0)
        assert instant_text(source.state().reached_ns or 0) == "2014-03-09T23:00:30Z"
        first = source.take(1, 0, 0).trades
        source.note_failed(first)
        assert source.state().ended is False, "the reader has not said that there is no more"
        assert source.due(0) == source.total == 3
        assert source.state().ended
    plan = ReplayPlan("my files/*.csv", "my.yaml", WantedTrades(symbols=("A", "B")), speed=2.0)
    assert plan.command(1_394_406_030_000_000_000) == (
        "k2ctl load --replay 'my files/*.csv' --feed my.yaml --since 2014-03-09T23:00:30Z --symbols A,B --speed 2x"
    )


def test_a_shifted_replay_ends_when_its_last_trade_is_sent(tmp_path: Path) -> None:
    before_ns = time.time_ns()
    with source_of(tmp_path, MINUTE, shift_to_now=True, speed=60.0) as source:
        times = np.sort(taken(source)["event_ns"])
    assert before_ns + 1_000_000_000 <= times[-1] <= time.time_ns() + 1_000_000_000
    assert times[-1] - times[0] == 60_000_000_000


def test_a_trade_that_is_shifted_is_another_and_look_alikes_stay(tmp_path: Path) -> None:
    (tmp_path / "ABC.csv").write_text(LINE * 3)
    printed = ids_in(everything(tmp_path / "ABC.csv", "asx"))
    ids = np.array([name.bytes for name in printed], "S16").view("V16")
    once, again, later = (shifted(ids, by).tolist() for by in (5, 5, 7))
    assert once == again
    assert len({*once, *later, *ids.tolist()}) == 9
    assert {UUID(bytes=name).version for name in once} == {8}
    assert all(UUID(bytes=name).int & (1 << 63) for name in once)


def test_a_number_of_a_session_that_is_shifted_is_the_same_number_of_another() -> None:
    trades = make_trades(20)
    session, number = sessions_and_numbers(trades)
    trades["message_id"] = shifted(trades["message_id"], -7)
    other, same = sessions_and_numbers(trades)
    assert same.tolist() == number.tolist()
    assert len({*session.tolist(), *other.tolist()}) == 2 * len(set(session.tolist()))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2014-03-09T23:00:30Z", 1_394_406_030_000_000_000),
        ("2014-03-09T23:00:30.123456789Z", 1_394_406_030_123_456_789),
        ("2014-03-10T10:00:30.5+11:00", 1_394_406_030_500_000_000),
        ("2014-03-09", 1_394_323_200_000_000_000),
    ],
)
def test_times_have_nine_digits(text: str, nanoseconds: int) -> None:
    assert nanos_of(text) == nanoseconds


@pytest.mark.parametrize("text", ["yesterday", "2014-03-09T23:00:30.1234567890Z", "1889-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|finer"):
        nanos_of(text)


def test_the_real_trades_are_all_there_to_the_last_digit(asx: Path) -> None:
    trades = everything(asx, "asx").trades
    counts = Counter(trades["symbol"].tolist())
    assert counts == {b"BHP": 91_631, b"RIO": 108_671, b"DVN": 232, b"MWR": 11}
    assert len(set(map(bytes, trades["message_id"].tolist()))) == 200_545, "look-alikes are different trades"
    lines = (asx / "7181.csv").read_text().splitlines()
    expected = sorted(Decimal(line.split(",")[2]) for line in lines)
    assert sorted(map(as_decimal, trades["price"][trades["symbol"] == b"DVN"])) == expected

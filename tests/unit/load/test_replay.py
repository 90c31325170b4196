"""Replays: exact figures, Sydney times, broken lines named by their numbers, the real files whole."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.conditions import pack
from k2ctl.domain.decimals import as_decimal, as_int
from k2ctl.domain.trade import NO_SEQUENCE
from k2ctl.errors import UsageError
from k2ctl.load.replay import Replay, ReplaySchedule, ReplaySource, read_replay
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe

UNIVERSE = Universe(load_profile("laptop"))


def replayed(tmp_path: Path, text: str, name: str = "ABC.csv") -> Replay:
    (tmp_path / name).write_text(text)
    return read_replay(tmp_path / name, UNIVERSE)


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


def ids_in(replay: Replay) -> list[UUID]:
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


def test_the_same_figures_written_otherwise_are_the_same_trade(tmp_path: Path) -> None:
    other = "03/10/2014,13:55:41.879000,01.110,01633,3,XT,7\n"
    assert ids_in(replayed(tmp_path, LINE)) == ids_in(replayed(tmp_path, other))


def test_a_trade_of_another_symbol_or_venue_is_another(tmp_path: Path) -> None:
    crypto = load_profile("laptop")
    crypto = crypto.model_copy(update={"market": crypto.market.model_copy(update={"exchange": "CXA"})})
    here, symbol = replayed(tmp_path, LINE), replayed(tmp_path, LINE, "ABD.csv")
    venue = read_replay(tmp_path / "ABC.csv", Universe(crypto))
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
    assert [line.line for line in replay.broken] == [2, 3, 4, 5, 6, 7, 8]
    assert replay.broken_count == 7
    assert "is not a time" in replay.broken[0].reason
    assert "3 columns" in replay.broken[1].reason
    assert "is not a price" in replay.broken[2].reason
    assert [as_decimal(price) for price in replay.trades["price"]] == [Decimal("1.11"), Decimal("4.2")]


@pytest.mark.parametrize("text", ["", "\n\n", "not,a,trade\n", "\x00\xff\x00"])
def test_a_file_without_trades_is_an_error_with_a_next_step(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as raised:
        replayed(tmp_path, text)
    assert raised.value.hint


@pytest.mark.parametrize("name", ["missing.csv", "empty"])
def test_a_path_with_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        read_replay(tmp_path / name, UNIVERSE)


def test_files_are_merged_in_time_order_and_each_has_its_symbol(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("03/10/2014,10:00:02.0,1,1,0,,\n03/10/2014,10:00:04.0,1,1,0,,\n")
    (tmp_path / "2.csv").write_text("03/10/2014,10:00:01.0,2,1,0,,\n03/10/2014,10:00:03.0,2,1,0,,\n")
    (tmp_path / "company_info.csv").write_text("company_id,symbol\n1,AAA\n2,BBB\n")
    trades = read_replay(tmp_path, UNIVERSE).trades
    assert trades["symbol"].tolist() == [b"BBB", b"AAA", b"BBB", b"AAA"]
    alone = [read_replay(tmp_path / name, UNIVERSE) for name in ("1.csv", "2.csv")]
    assert {*ids_in(alone[0]), *ids_in(alone[1])} == {UUID(bytes=bytes(name)) for name in trades["message_id"].tolist()}


def test_sixty_times_as_fast_is_a_sixtieth_of_the_time(tmp_path: Path) -> None:
    replay = replayed(tmp_path, "03/10/2014,10:00:00.0,1,1,0,,\n03/10/2014,10:01:00.0,1,1,0,,\n")
    schedule = ReplaySchedule.of(replay, 60)
    assert schedule.duration_s == 1.0
    assert (schedule.due(0.5), schedule.due(1.0)) == (1, 2)
    assert ReplaySchedule.of(replay, float("inf")).due(0) == 2


def test_a_shifted_replay_ends_at_the_given_moment(tmp_path: Path) -> None:
    replay = replayed(tmp_path, "03/10/2014,10:00:00.0,1,1,0,,\n03/10/2014,10:01:00.0,1,1,0,,\n")
    batch = ReplaySource(replay, UNIVERSE, last_us=2_000_000_000_000_000).take(2, 0, 0)
    assert (batch.trades["event_ns"] // 1000).tolist() == [1_999_999_940_000_000, 2_000_000_000_000_000]


def test_a_trade_that_is_shifted_is_another_and_look_alikes_stay(tmp_path: Path) -> None:
    replays = [replayed(tmp_path, LINE * 3) for _ in range(4)]
    for replay, last_us in zip(
        replays, (None, 2_000_000_000_000_000, 2_000_000_000_000_000, 2_100_000_000_000_000), strict=True
    ):
        ReplaySource(replay, UNIVERSE, last_us=last_us)
    as_printed, shifted, again, later = map(ids_in, replays)
    assert shifted == again
    assert len({*as_printed, *shifted, *later}) == 9


def test_the_real_trades_are_all_there_to_the_last_digit(asx: Path) -> None:
    trades = read_replay(asx, UNIVERSE).trades
    counts = Counter(trades["symbol"].tolist())
    assert counts == {b"BHP": 91_631, b"RIO": 108_671, b"DVN": 232, b"MWR": 11}
    assert len(set(map(bytes, trades["message_id"].tolist()))) == 200_545, "look-alikes are different trades"
    lines = (asx / "7181.csv").read_text().splitlines()
    expected = sorted(Decimal(line.split(",")[2]) for line in lines)
    assert sorted(map(as_decimal, trades["price"][trades["symbol"] == b"DVN"])) == expected

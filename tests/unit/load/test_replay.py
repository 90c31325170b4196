"""Replays: exact figures, Sydney times, broken lines named by their numbers, the real files whole."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from k2ctl.domain.conditions import pack
from k2ctl.domain.decimals import as_decimal, as_int
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


def test_look_alikes_are_different_trades(tmp_path: Path) -> None:
    line = "03/10/2014,13:55:41.879,1.11,1633,0,,\n"
    trades = replayed(tmp_path, line * 3).trades
    assert len({bytes(i) for i in trades["message_id"].tolist()}) == 3
    again = replayed(tmp_path, line * 3).trades
    assert again["message_id"].tolist() == trades["message_id"].tolist()


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
    assert [int.from_bytes(bytes(i)[8:], "big") for i in replay.trades["message_id"].tolist()] == [1, 9]


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


def test_files_are_merged_in_time_order_and_numbered_by_symbol(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("03/10/2014,10:00:02.0,1,1,0,,\n03/10/2014,10:00:04.0,1,1,0,,\n")
    (tmp_path / "2.csv").write_text("03/10/2014,10:00:01.0,2,1,0,,\n03/10/2014,10:00:03.0,2,1,0,,\n")
    (tmp_path / "company_info.csv").write_text("company_id,symbol\n1,AAA\n2,BBB\n")
    trades = read_replay(tmp_path, UNIVERSE).trades
    assert trades["symbol"].tolist() == [b"BBB", b"AAA", b"BBB", b"AAA"]
    assert trades["source_sequence"].tolist() == [1, 1, 2, 2]


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


def test_the_real_trades_are_all_there_to_the_last_digit(asx: Path) -> None:
    trades = read_replay(asx, UNIVERSE).trades
    counts = Counter(trades["symbol"].tolist())
    assert counts == {b"BHP": 91_631, b"RIO": 108_671, b"DVN": 232, b"MWR": 11}
    lines = (asx / "7181.csv").read_text().splitlines()
    expected = sorted(Decimal(line.split(",")[2]) for line in lines)
    assert sorted(map(as_decimal, trades["price"][trades["symbol"] == b"DVN"])) == expected

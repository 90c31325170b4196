"""`k2ctl gaps --lines`: topics of one market in Kafka, each decoded by its feed, compared trade by trade."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from k2ctl.cli import main
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles.foreign import of_others
from tests.made_trades import PARTITIONS, make_trades, partition_of_made, produce_values, quick_profile
from tests.support.cli import called
from tests.support.feed_files import everything
from tests.support.platforms import catch_up

embedded = pytest.mark.parametrize("stack", ["embedded"], indirect=True)
local = pytest.mark.parametrize("stack", [pytest.param("local", marks=pytest.mark.kafka)], indirect=True)

AGO_S = 60

Ask = Callable[..., dict[str, Any]]


def sent(count: int, delay_us: int = 0) -> np.ndarray:
    """Made trades, one a millisecond, the last of them a minute ago; received so long after."""
    trades = make_trades(count)
    trades["event_ns"] += (time.time_ns() - AGO_S * 10**9 - int(trades["event_ns"][-1])) // 1000 * 1000
    trades["received_ns"] = trades["event_ns"] + delay_us * 1000
    return trades


def produce(endpoints: Endpoints, topic: str, trades: np.ndarray, frame: int = 1) -> None:
    """Into a topic, in the order of time."""
    partition = partition_of_made(trades)
    for number in range(PARTITIONS):
        produce_values(endpoints, topic, ((number, value) for value in frames(trades[partition == number], frame)))


@pytest.fixture
def topics(endpoints: Endpoints, exchange: str) -> dict[str, str]:
    """Two empty topics by the name of their line."""
    save_endpoints(endpoints)
    made = {line: f"lines.{exchange}.{line.lower()}" for line in ("A", "B")}
    with BrokerAdmin(endpoints) as admin:
        for topic in made.values():
            admin.create_topic(topic, PARTITIONS)
    return made


@pytest.fixture
def ask(topics: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Ask:
    """What the command says of the two."""

    def asked(*options: str) -> dict[str, Any]:
        named = [part for line, topic in topics.items() for part in ("--line", f"{line}={topic}")]
        code, out, err = called(capsys, "gaps", *named, "--json", *options)
        assert code == ExitCode.OK, err
        found: dict[str, Any] = json.loads(out)
        return found

    return asked


def of(report: dict[str, Any], name: str) -> list[Any]:
    return [line[name] for line in report["lines"]]


def fill(endpoints: Endpoints, topics: dict[str, str]) -> None:
    """A has 1,000 trades but 5 and the 2 that nobody has; B all but those 2, 40 µs later, 100 of them twice."""
    first, second = sent(1000), sent(1000)
    second["event_ns"] = first["event_ns"]
    second["received_ns"] = first["received_ns"] + 40_000
    nowhere = (first["symbol"] == b"S05") & np.isin(first["source_sequence"], (20, 21))
    dropped = (first["symbol"] == b"S09") & np.isin(first["source_sequence"], (3, 4, 5, 30, 31))
    produce(endpoints, topics["A"], first[~(nowhere | dropped)])
    produce(endpoints, topics["B"], second[~nowhere], frame=7)
    again = second[:100].copy()
    again["received_ns"] += 10**9
    produce(endpoints, topics["B"], again)


def check_filled(report: dict[str, Any]) -> None:
    assert (report["trades"], report["on_all"], report["unsettled"], report["no_longer_held"]) == (998, 993, 0, 0)
    assert of(report, "missing") == [5, 0]
    assert of(report, "first") == [993, 0]
    assert of(report, "repeated") == [0, 100]
    assert of(report, "skew_p50_us") == [None, 40.0]
    assert of(report, "skew_p99_us") == [None, 40.0]
    gaps = [{"gaps": 3, "numbers": 7, "filled_gaps": 2, "filled_numbers": 5},
            {"gaps": 1, "numbers": 2, "filled_gaps": 0, "filled_numbers": 0}]  # fmt: skip
    assert of(report, "gaps") == gaps
    assert report["missing_on_all"]["numbers"] == 2


@embedded
def test_two_topics_are_compared_without_any_consumer(endpoints: Endpoints, topics: dict[str, str], ask: Ask) -> None:
    fill(endpoints, topics)
    check_filled(ask())


@embedded
def test_a_screen_of_eighty_columns_says_all_of_it(
    endpoints: Endpoints, topics: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(endpoints, topics)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = called(capsys, "gaps", *(f"--line={line}={topic}" for line, topic in topics.items()))
    assert code == ExitCode.OK
    assert max(map(len, out.splitlines())) <= 80
    for said in ("998 trades, 993 of them on both lines", "40 µs", "On no line: 2 numbers", "B: 100 copies"):
        assert said in " ".join(out.split()), out


@embedded
def test_symbols_and_times_choose_what_is_compared(endpoints: Endpoints, topics: dict[str, str], ask: Ask) -> None:
    fill(endpoints, topics)
    one = ask("--symbol", "S09")
    assert (one["trades"], of(one, "missing"), of(one, "gaps")[0]["filled_numbers"]) == (50, [5, 0], 5)
    assert ask("--window", "30s")["trades"] == 0
    until = ask("--since", "61s")
    assert 0 < until["trades"] < 1000


@embedded
def test_what_was_received_just_now_is_not_missing_yet(endpoints: Endpoints, topics: dict[str, str], ask: Ask) -> None:
    first = sent(200)
    first["received_ns"][100:] = time.time_ns()
    produce(endpoints, topics["A"], first)
    produce(endpoints, topics["B"], first[:90])
    report = ask("--settle", "10m")
    assert (report["trades"], report["unsettled"]) == (0, 200)
    report = ask("--settle", "30s")
    assert (report["trades"], report["unsettled"], of(report, "missing")) == (100, 100, [0, 10])


@embedded
def test_lines_have_feeds_of_their_own_and_kafkas_time_where_a_feed_says_none(
    endpoints: Endpoints, topics: dict[str, str], ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now_ms = time.time_ns() // 1_000_000 - AGO_S * 1000
    records = [{"n": n, "p": "1.5", "q": 2, "T": now_ms + n} for n in range(1, 201)]
    others = [{"id": r["n"], "px": "1.50", "size": "2.0", "at": r["T"] * 1000} for r in records if r["n"] % 10]
    for line, columns, rows in (
        ("A", "{number: $.n, price: $.p, quantity: $.q, time: $.T}", records),
        ("B", "{number: $.id, price: $.px, quantity: $.size, time: $.at}", others),
    ):
        feed = tmp_path / f"{line}.yaml"
        feed.write_text(FEED.format(columns=columns))
        produce_values(endpoints, topics[line], ((0, orjson.dumps(row)) for row in rows))
        catch_up(endpoints, of_others(quick_profile(), str(feed), topics[line]))
    report = ask("--settle", "0s")
    assert (report["trades"], report["on_all"], of(report, "missing")) == (200, 180, [0, 20])
    assert of(report, "by_kafka_time") == [True, True]
    assert of(report, "gaps")[1] == {"gaps": 20, "numbers": 20, "filled_gaps": 20, "filled_numbers": 20}
    _, out, _ = called(capsys, "gaps", *(f"--line={line}={topic}" for line, topic in topics.items()), "--settle=0s")
    assert "timestamp of its record in Kafka" in " ".join(out.split())


FEED = """\
description: trades of a venue
source:
  format: json
  columns: {columns}
trade:
  symbol: "'BTC'"
  exchange: "'X'"
  asset_class: "'crypto'"
  timestamp: time
  price: price
  quantity: quantity
  trade_id: number
  source_sequence: number
identity: [number]
"""


@embedded
def test_the_profile_names_the_lines(
    endpoints: Endpoints, topics: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(endpoints, topics)
    profile = tmp_path / "lines.yaml"
    named = ", ".join(f"{line}: {topic}" for line, topic in topics.items())
    profile.write_text(f"base: laptop\ntopic: {{lines: {{{named}}}}}\n")
    code, out, _ = called(capsys, "gaps", "--lines", "--profile", str(profile), "--json")
    assert code == ExitCode.OK
    check_filled(json.loads(out))


@embedded
def test_lines_that_cannot_be_compared_are_refused_with_what_to_type(
    topics: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (
        (["--lines"], "names no lines"),
        (["--line", f"A={topics['A']}"], "Lines are 2 to 8"),
        (["--line", f"A={topics['A']}", "--line", f"B={topics['A']}"], "a topic of its own"),
        (["--lines", "--lake-only"], "exclude each other"),
        (["--since", "1h", "--window", "1h"], "exclude each other"),
    ):
        code, _, err = called(capsys, "gaps", *options)
        assert (code, said in err) == (ExitCode.USAGE, True), err
    assert main(["gaps", "--line", f"A={topics['A']}", "--line", "B=not-there"]) == ExitCode.FAILED
    assert "not-there" in capsys.readouterr().err


def numbered(trades: np.ndarray) -> np.ndarray:
    """In the order of time, each symbol's from 1 on, received 200 µs later and more."""
    trades = trades.take(np.argsort(trades["event_ns"], kind="stable"))
    for symbol in np.unique(trades["symbol"]):
        own = trades["symbol"] == symbol
        trades["source_sequence"][own] = np.arange(1, own.sum() + 1)
    return trades


@local
@pytest.mark.slow
def test_real_trades_on_two_lines_with_drops_and_jitter_are_compared_exactly(
    endpoints: Endpoints, topics: dict[str, str], ask: Ask, asx: Path
) -> None:
    trades, draw = numbered(everything(asx, "asx").trades), np.random.default_rng(7)
    count = len(trades)
    there, got = {}, {}
    for line, dropped, mean_ns in (("A", 0.002, 40_000), ("B", 0.004, 60_000)):
        # Half of what is dropped goes in bursts of a hundred.
        burst = np.repeat(draw.random(-(-count // 100)) < dropped / 2, 100)[:count]
        there[line] = (draw.random(count) >= dropped / 2) & ~burst
        got[line] = trades["event_ns"] + 200_000 + draw.exponential(mean_ns, count).astype(np.int64)
        sent = trades[there[line]]
        sent["received_ns"] = got[line][there[line]]
        sent = sent.take(np.argsort(sent["received_ns"], kind="stable"))
        partition = (np.unique(sent["symbol"], return_inverse=True)[1] % PARTITIONS).tolist()
        for number in range(PARTITIONS):
            values = frames(sent[np.array(partition) == number], 50)
            produce_values(endpoints, topics[line], ((number, value) for value in values))
    report = ask()
    either, both = there["A"] | there["B"], there["A"] & there["B"]
    assert (report["trades"], report["on_all"]) == (either.sum(), both.sum())
    assert of(report, "missing") == [(either & ~there[line]).sum() for line in topics]
    later_ns = got["B"] - got["A"]
    assert of(report, "first") == [(both & (later_ns > 0)).sum(), (both & (later_ns < 0)).sum()]
    for name, share in (("skew_p50_us", 0.5), ("skew_p99_us", 0.99)):
        late = [np.sort(-later_ns[both & (later_ns < 0)]), np.sort(later_ns[both & (later_ns > 0)])]
        assert of(report, name) == [of_line[int(np.ceil(share * len(of_line))) - 1] / 1000 for of_line in late]
    nowhere, lacking = lacked(trades, either), {line: lacked(trades, there[line]) for line in topics}
    for line, found in zip(topics, of(report, "gaps"), strict=True):
        assert found["numbers"] == len(lacking[line])
        assert found["filled_numbers"] == len(lacking[line] - nowhere)
    within = {symbol: numbers_of(trades[either], symbol) for symbol in np.unique(trades["symbol"]).tolist()}
    assert report["missing_on_all"]["numbers"] == sum(
        min(within[symbol]) < number < max(within[symbol]) for symbol, number in nowhere
    )


def numbers_of(trades: np.ndarray, symbol: bytes) -> list[int]:
    found: list[int] = trades["source_sequence"][trades["symbol"] == symbol].tolist()
    return found


def lacked(trades: np.ndarray, there: np.ndarray) -> set[tuple[bytes, int]]:
    """The symbol and number of each trade that is not there."""
    lost = trades[~there]
    return set(zip(lost["symbol"].tolist(), lost["source_sequence"].tolist(), strict=True))


@local
@pytest.mark.slow
def test_what_a_real_kafka_deleted_is_said_and_never_missing(
    endpoints: Endpoints, topics: dict[str, str], ask: Ask
) -> None:
    fill(endpoints, topics)
    check_filled(ask())
    check_filled(ask("--since", "2m"))
    assert ask("--window", "30s")["trades"] == 0
    with BrokerAdmin(endpoints) as admin:
        admin.delete_records(topics["B"], dict.fromkeys(range(PARTITIONS), 15))
    report = ask("--settle", "0s")
    assert of(report, "missing") == [5, 0]
    assert of(report, "gone_records") == [0, 15 * PARTITIONS]
    assert report["no_longer_held"] > 0
    assert report["trades"] + report["no_longer_held"] == 998
    assert report["from_us"] is not None

"""Sums, bars and days over trades at the ends of what is accepted, by the command line: table and stream together."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import orjson
import pytest

from k2ctl.api.settings import Settings
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles import Profile
from k2ctl.profiles.loader import save_profile
from tests.made_trades import PARTITIONS, produce_values, quick_profile
from tests.support.api import serving
from tests.support.cli import called
from tests.support.platforms import with_lake

EVENING = "2026-01-14T12:30:00+00:00"
"""23:30 in Sydney."""


@dataclass
class Venue:
    """A topic of JSON records, of a profile of its own."""

    endpoints: Endpoints
    profile: Profile
    capsys: pytest.CaptureFixture[str]
    sent: int = 0

    def send(self, symbol: str, price: str, quantity: str, at: str, conditions: Sequence[str] = ()) -> None:
        self.sent += 1
        moment = datetime.fromisoformat(at)
        market = self.profile.market
        fields = {
            "message_id": str(uuid5(_NAMES, f"{market.exchange}/{self.sent}")), "trade_id": self.sent,
            "symbol": symbol, "exchange": market.exchange, "currency": market.currency,
            "asset_class": market.asset_class, "side": "BUY", "timestamp": round(moment.timestamp() * 1e6),
            "ingestion_timestamp": round(moment.timestamp() * 1e6), "price": price, "quantity": quantity,
            "trade_conditions": list(conditions), "source_sequence": self.sent,
        }  # fmt: skip
        produce_values(self.endpoints, self.profile.trades_topic, [(0, orjson.dumps(fields))])

    def store(self) -> None:
        Consumer(self.endpoints, ConsumerPlan(self.profile, until_caught_up=True)).run(threading.Event())

    def ask(self, *arguments: str) -> tuple[list[dict[str, Any]], str]:
        """The rows, and what was said beside them."""
        code, out, err = called(self.capsys, *arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out), err

    def bars(self, symbol: str, *more: str) -> list[dict[str, Any]]:
        return self.ask("query", "ohlcv", symbol, "--window", "all", *more)[0]

    def gaps(self, *arguments: str) -> list[dict[str, Any]]:
        """The days of the report."""
        code, out, err = called(self.capsys, "gaps", *arguments, "--json")
        assert code == 0, err
        days: list[dict[str, Any]] = json.loads(out)["days"]
        return days


_NAMES = UUID(int=7)


@pytest.fixture
def venue(
    request: pytest.FixtureRequest,
    embedded_stack: Endpoints,
    home: Path,
    exchange: str,
    capsys: pytest.CaptureFixture[str],
) -> Venue:
    profile = quick_profile()
    own = {"exchange": exchange, **getattr(request, "param", {"asset_class": "crypto", "currency": "USD"})}
    profile = profile.model_copy(
        update={
            "market": profile.market.model_copy(update=own),
            "topic": profile.topic.model_copy(update={"format": "json"}),
        }
    )
    endpoints = replace(with_lake(embedded_stack, home), profile=str(save_profile(profile, home)))
    save_endpoints(endpoints)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(trades_topic(profile.market.asset_class, exchange), PARTITIONS)
    return Venue(endpoints, profile, capsys)


def test_turnover_is_summed_without_a_cast_over_everything_that_is_accepted(venue: Venue) -> None:
    venue.send("ABC", "36.667", "20000", EVENING)
    turnover = ("query", "sql", "SELECT sum(price*quantity) AS turnover FROM trades")
    assert venue.ask(*turnover)[0] == [{"turnover": "733340"}]
    venue.send("PEPE", "0.000006984", "23640926208", EVENING)
    venue.store()
    venue.send("BIGV", "9999999999.99999999", "1000000000000", EVENING)
    rows, said = venue.ask(*turnover)
    assert rows == [{"turnover": "10000000000000000888448.228636672"}]
    assert "DOUBLE" not in said


def test_one_symbols_extreme_fails_no_others_sum_and_costs_it_no_digit(venue: Venue) -> None:
    venue.send("YEN", "123456.789", "3000000000", EVENING)
    venue.send("FULL", "999999999999999.999999999999", "999999999999999.999999999999", EVENING)
    venue.store()
    of_yen = "SELECT sum(price * quantity) AS turnover FROM trades WHERE symbol = 'YEN'"
    rows, said = venue.ask("query", "sql", of_yen)
    assert rows == [{"turnover": "370370367000000"}]
    assert "DOUBLE" not in said
    each = "SELECT symbol, sum(price * quantity) AS turnover FROM trades GROUP BY symbol ORDER BY symbol"
    rows, said = venue.ask("query", "sql", each)
    assert [row["turnover"] for row in rows] == [pytest.approx(1e30), pytest.approx(370370367000000)]
    assert "computed as DOUBLE" in said


def test_products_of_single_rows_do_not_overflow_after_the_first_rows_are_out(venue: Venue) -> None:
    venue.send("A", "2.5", "4", EVENING)
    venue.send("B", "10000000000", "1000000000000", EVENING)
    rows, _ = venue.ask("query", "sql", "SELECT price * quantity AS worth FROM trades ORDER BY symbol")
    assert rows == [{"worth": "10"}, {"worth": "10000000000000000000000"}]


def test_an_overflow_of_ones_own_is_still_an_error(venue: Venue) -> None:
    venue.send("A", "2.5", "4", EVENING)
    code, _, err = called(venue.capsys, "query", "sql", "SELECT 170141183460469231731687303715884105727::HUGEINT * 2")
    assert code == 2
    assert "Overflow in" in err


def test_a_price_at_the_end_of_the_range_has_bars_and_fails_no_others(venue: Venue) -> None:
    venue.send("BIGV", "9999999999.99999999", "1000000000000", EVENING)
    venue.send("TINY", "0.0000000001", "3", EVENING)
    venue.store()
    venue.send("OK", "5", "1", EVENING)
    rows, _ = venue.ask("query", "ohlcv", "OK", "BIGV", "TINY", "--window", "all")
    assert {row["symbol"]: (row["close"], row["vwap"], row["volume"]) for row in rows} == {
        "BIGV": ("9999999999.99999999", "9999999999.99999999", "1000000000000"),
        "OK": ("5", "5", "1"),
        "TINY": ("0.0000000001", "0.0000000001", "3"),
    }


@pytest.mark.parametrize("venue", [{"conditions": "us-tape", "asset_class": "equities"}], indirect=True)
def test_bars_obey_the_markets_table_on_the_command_line_and_over_http(venue: Venue) -> None:
    venue.send("LATE", "10", "1", "2026-01-01T00:00:10+00:00")
    venue.send("LATE", "12", "1", "2026-01-01T00:01:10+00:00")
    venue.store()
    venue.send("LATE", "99", "1", "2026-01-01T00:00:05+00:00", ["@ZT"])
    figures = ("open", "high", "low", "close", "volume")
    (bar,) = venue.bars("LATE", "--bar", "1d")
    assert tuple(bar[name] for name in figures) == ("10", "12", "10", "12", "3")
    (bar,) = venue.bars("LATE", "--bar", "1d", "--all-prints")
    assert tuple(bar[name] for name in figures) == ("99", "99", "10", "12", "3")
    with serving(venue.endpoints, venue.profile.trades_topic, Settings(port=0)) as service:
        span = {"symbol": "LATE", "bar": "1d", "since": "2025-12-31", "until": "2026-01-03"}
        for more, high in (({}, "12"), ({"all_prints": "true"}, "99"), ({"session": "XASX"}, "12")):
            answer = service.client.get("/v1/ohlcv", params={**span, **more})
            assert [row["high"] for row in answer.json()["rows"]] == [high]
        refused = service.client.get("/v1/ohlcv", params={**span, "zone": "Sydney"})
        assert (refused.status_code, "no time zone" in refused.json()["detail"]) == (422, True)


@pytest.mark.parametrize("venue", [{"zone": "Australia/Sydney"}], indirect=True)
def test_bars_and_gaps_of_a_day_follow_the_profiles_zone_and_the_session_that_is_asked_for(venue: Venue) -> None:
    venue.send("BHP", "40", "1", EVENING)
    venue.send("BHP", "41", "1", "2026-01-14T13:30:00+00:00")
    venue.store()
    assert [(bar["day"], bar["close"]) for bar in venue.bars("BHP", "--bar", "1d")] == [
        ("2026-01-14", "40"),
        ("2026-01-15", "41"),
    ]
    assert [(bar["day"], bar["volume"]) for bar in venue.bars("BHP", "--bar", "1w")] == [("2026-01-12", "2")]
    (bar,) = venue.bars("BHP", "--bar", "1d", "--zone", "UTC")
    assert bar["bar_start"].startswith("2026-01-14T00:00:00")
    for more, days in (((), ["2026-01-14", "2026-01-15"]), (("--zone", "UTC"), ["2026-01-14"])):
        assert [day["day"] for day in venue.gaps("--symbol", "BHP", *more)] == days
    venue.send("CBA", "1", "1", "2026-01-26T01:00:00+00:00")  # Australia Day
    (bar,) = venue.bars("CBA", "--bar", "1d", "--session", "XASX")
    assert (bar["day"], bar["bar_start"][:19]) == ("2026-01-27", "2026-01-26T23:00:00")
    assert [day["day"] for day in venue.gaps("--symbol", "CBA", "--session", "XASX")] == ["2026-01-27"]


CASES = Path(__file__).parents[4] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside this checkout")


def send_case(venue: Venue, name: str) -> None:
    """The records of a case, as those of this test's exchange."""
    exchange = venue.profile.market.exchange
    values = (CASES / name / "input").read_text().replace("BINANCE", exchange).splitlines()
    produce_values(venue.endpoints, venue.profile.trades_topic, [(0, value.encode()) for value in values])


@needs_cases
def test_the_case_of_one_trade_that_killed_all_bars(venue: Venue) -> None:
    send_case(venue, "05-ohlcv-killed-by-one-trade")
    for _ in range(2):  # from the stream, then from the table
        rows, said = venue.ask("query", "ohlcv", "OK", "BIGV", "--window", "all")
        assert [(row["symbol"], row["vwap"]) for row in rows] == [("BIGV", "9999999999.99999999"), ("OK", "5")]
        assert "complete" in said
        venue.store()


@needs_cases
@pytest.mark.parametrize(
    "venue", [{"asset_class": "crypto", "currency": "USD", "conditions": "us-tape"}], indirect=True
)
def test_the_case_of_a_late_print(venue: Venue) -> None:
    send_case(venue, "15-late-print-in-bars")
    for _ in range(2):
        (bar,) = venue.bars("LATE", "--bar", "1d")
        assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == ["10", "12", "10", "12", "3"]
        venue.store()


@needs_cases
@pytest.mark.parametrize("venue", [{"asset_class": "equities", "currency": "AUD"}], indirect=True)
def test_the_case_of_turnover_that_overflowed(venue: Venue, tmp_path: Path) -> None:
    file = tmp_path / "ABC.csv"
    file.write_text((CASES / "04-sql-turnover" / "input").read_text())
    code, _, err = called(venue.capsys, "load", "--replay", str(file))
    assert code == 0, err
    for _ in range(2):
        rows, _ = venue.ask("query", "sql", "select sum(price*quantity) as turnover from trades")
        assert rows == [{"turnover": "733340"}]
        venue.store()

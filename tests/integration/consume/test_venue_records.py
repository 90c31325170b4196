"""Records as venues write them, through a stack: what was sent is stored exactly and answered exactly."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from k2ctl.api.settings import Settings
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import read_between
from k2ctl.profiles import load_profile
from tests.made_trades import BASE_US, produce_values
from tests.support.api import SPAN, serving
from tests.support.cli import called
from tests.support.platforms import catch_up, with_lake

CASES = Path(__file__).parents[4] / "shared" / "cases"
EXAMPLE = {
    "message_id": "00000000-0000-1b58-0000-000000000001",
    "trade_id": 1,
    "symbol": "BTC",
    "exchange": "BINANCE",
    "currency": "USD",
    "asset_class": "crypto",
    "timestamp": BASE_US,
    "ingestion_timestamp": BASE_US,
    "price": "1",
    "quantity": "1",
}


class Platform:
    """A topic of JSON of an exchange of its own, and what the command line says of it."""

    def __init__(self, endpoints: Endpoints, profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.endpoints, self.profile, self._capsys = endpoints, load_profile(str(profile)), capsys
        self.topic = self.profile.trades_topic
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self.topic, 4)

    def send(self, records: list[bytes], *, stored: bool) -> None:
        produce_values(self.endpoints, self.topic, ((1, record) for record in records))
        if stored:
            catch_up(self.endpoints, self.profile)

    def rows(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        code, out, err = called(self._capsys, "query", command, *arguments, "--window", "all", "--json")
        assert code == 0, err
        found: list[dict[str, Any]] = json.loads(out)
        return found

    def dead_letters(self) -> list[bytes]:
        topic = dead_letter_topic(self.topic)
        with BrokerAdmin(self.endpoints) as admin:
            marks = {p: (mark.low, mark.high) for p, mark in admin.watermarks(topic).items()}
        return read_between(self.endpoints, topic, marks, 10.0, 1000)[0].values


Made = Callable[..., Platform]


@pytest.fixture
def made(
    embedded_stack: Endpoints, home: Path, exchange: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Made:
    def make(**topic: object) -> Platform:
        endpoints = with_lake(embedded_stack, home)
        path = tmp_path / "own.yaml"
        market = {"exchange": exchange, "currency": "USD", "asset_class": "crypto"}
        sections = {"market": market, "topic": {"format": "json", "partitions": 4, "critical_partitions": 1, **topic}}
        path.write_text(json.dumps({"base": "laptop", **sections}))
        changed = replace(endpoints, profile=str(path))
        save_endpoints(changed)
        return Platform(changed, path, capsys)

    return make


def records_of(case: str) -> list[bytes]:
    return (CASES / case / "input").read_bytes().splitlines()


BOTH_SIDES = pytest.mark.parametrize("stored", [True, False], ids=["stored", "in-the-stream"])


@BOTH_SIDES
def test_a_json_number_is_stored_by_its_digits(made: Made, stored: bool) -> None:
    platform = made()
    platform.send(records_of("02-json-number-digits"), stored=stored)
    assert [row["quantity"] for row in platform.rows("recent", "C04")] == ["90071992.54740993", "1234567890.12345678"]


@BOTH_SIDES
def test_trades_of_one_microsecond_are_in_the_order_of_their_nanoseconds(made: Made, stored: bool) -> None:
    platform = made()
    platform.send(records_of("07-iso-nanoseconds"), stored=stored)
    rows = platform.rows("recent", "NSORD")
    assert [row["price"] for row in rows] == ["103", "102", "101"]
    assert rows[0]["timestamp"] == "2026-01-01T00:00:00.000001900Z"
    (bar,) = platform.rows("ohlcv", "NSORD")
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == ("101", "103", "101", "103")


@BOTH_SIDES
def test_quantities_of_meme_coins_are_stored(made: Made, stored: bool) -> None:
    platform = made()
    platform.send(records_of("08-quantity-of-meme-coins"), stored=stored)
    quantities = [row["quantity"] for row in platform.rows("recent", "C02")]
    assert quantities == ["1000000000000", "23640926208", "10000000000", "9999999999.99999999"]


NAMES = ["BRK.B", "1000PEPE/USDT:USDT", "SPXW  250117C05900000", "BTC/USDC:USDC-240628-100000-C", "銘柄トヨタ"]


@BOTH_SIDES
def test_every_name_is_answered_on_the_command_line_and_over_http_in_lower_case_too(made: Made, stored: bool) -> None:
    platform = made()
    platform.send([json.dumps({**EXAMPLE, "symbol": name}).encode() for name in NAMES], stored=stored)
    with serving(platform.endpoints, platform.topic, Settings(port=0)) as service:
        for name in NAMES:
            for asked in (name, name.lower()):
                for command in ("recent", "ohlcv"):
                    assert [row["symbol"] for row in platform.rows(command, asked)] == [name]
                for path in ("/v1/trades/recent", "/v1/ohlcv"):
                    answer = service.client.get(path, params={"symbol": asked, **SPAN})
                    assert [row["symbol"] for row in answer.json()["rows"]] == [name], answer.text


def test_what_cannot_be_is_a_dead_letter_of_the_bytes_that_came(made: Made) -> None:
    platform = made(time_unit="ms")
    good = {**EXAMPLE, "timestamp": BASE_US // 1000, "ingestion_timestamp": BASE_US // 1000}
    late = {**good, "timestamp": BASE_US, "message_id": "00000000-0000-1b58-0000-000000000002"}
    dear = {**good, "price": 1e16, "message_id": "00000000-0000-1b58-0000-000000000003"}
    records = [json.dumps(late, indent=1).encode(), json.dumps([good, dear]).encode(), b"\xef\xbb\xbf{}"]
    platform.send(records, stored=True)
    assert [row["timestamp"] for row in platform.rows("recent", "BTC")] == ["2023-11-14T22:13:20.000000Z"]
    assert sorted(platform.dead_letters()) == sorted([records[0], json.dumps(dear).encode(), records[2]])


@BOTH_SIDES
def test_the_declared_unit_and_first_day_hold_on_both_sides_of_the_seam(made: Made, stored: bool) -> None:
    platform = made(time_unit="s", earliest="2023-11-01")
    times = {1: "2023-10-31T23:59:59.999999999Z", 2: "2023-11-01T00:00:00Z", 3: BASE_US // 10**6, 4: BASE_US // 1000}
    trades = [{**EXAMPLE, "trade_id": number, "timestamp": time} for number, time in times.items()]
    platform.send(
        [json.dumps({**one, "ingestion_timestamp": BASE_US // 10**6}).encode() for one in trades], stored=stored
    )
    rows = platform.rows("recent", "BTC")
    assert [row["timestamp"] for row in rows] == ["2023-11-14T22:13:20.000000Z", "2023-11-01T00:00:00.000000Z"]

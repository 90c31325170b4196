"""The service as clients meet it: answers, representations, pages while data flows, problems."""

import csv
import io
import json

import httpx
import pyarrow as pa
import pytest

from tests.made_trades import make_trades
from tests.support.api import SPAN, WHOLE, Service

ALL = {**SPAN, "limit": 50_000}
EVERY = [f"S{number:02d}" for number in range(20)]


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["trade_id"] for row in answer.json()["rows"]]


def test_recent_is_lake_and_stream_each_once(service: Service) -> None:
    answer = service.client.get("/v1/trades/recent", params={**ALL, "symbol": "S03"})
    assert numbers(answer) == [n for n in range(WHOLE - 1, -1, -1) if n % 20 == 3]
    evidence = answer.json()["evidence"]
    assert evidence["complete"]
    assert (evidence["lake_rows"], evidence["stream_rows"]) == (30, 20)
    assert len(numbers(service.client.get("/v1/trades/recent", params={**ALL, "symbol": EVERY}))) == WHOLE


def test_csv_and_arrow_hold_the_same_rows(service: Service) -> None:
    params = {**ALL, "symbol": "S03"}
    rows = service.client.get("/v1/trades/recent", params=params).json()["rows"]
    text = service.client.get("/v1/trades/recent", params=params, headers={"Accept": "text/csv"})
    assert [row["price"] for row in csv.DictReader(io.StringIO(text.text))] == [row["price"] for row in rows]
    assert text.headers["K2-Complete"] == "true"
    arrow = service.client.get(
        "/v1/trades/recent", params=params, headers={"Accept": "application/vnd.apache.arrow.stream"}
    )
    with pa.ipc.open_stream(arrow.content) as reader:
        assert reader.read_all().column("trade_id").to_pylist() == [row["trade_id"] for row in rows]
    assert service.client.get("/v1/trades/recent", params=params, headers={"Accept": "image/png"}).status_code == 406


def test_bars_symbols_gaps_and_status(service: Service) -> None:
    bars = service.client.get("/v1/ohlcv", params={**SPAN, "symbol": "S04", "bar": "1s"}).json()["rows"]
    assert sum(bar["trades"] for bar in bars) == WHOLE // 20
    assert [row["symbol"] for row in service.client.get("/v1/symbols").json()["rows"]] == EVERY
    assert service.client.get("/v1/gaps", params={**SPAN, "symbol": EVERY}).json()["rows"] == []
    status = service.client.get("/v1/status").json()
    assert (status["rows"], status["tail_trades"], status["tail_problem"]) == (600, 550, "")
    metrics = service.client.get("/metrics").text
    assert 'k2_api_requests_total{route="/v1/symbols",status="200"}' in metrics
    assert 'k2_api_answers_total{complete="true",route="/v1/symbols"}' in metrics
    assert "k2_api_ready 1.0" in metrics
    assert "k2_lake_rows 600.0" in metrics
    assert "k2_lake_snapshots 1.0" in metrics
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert "<title>K2" in service.client.get("/").text


def test_pages_are_exact_while_trades_go_on_arriving(fresh: Service) -> None:
    headers = {"Authorization": "Bearer " + "k" * 20}
    got: list[int] = []
    cursor, pages = None, 0
    while True:
        params = {**SPAN, "symbol": ["S03", "S07"], "limit": 7, **({"cursor": cursor} if cursor else {})}
        answer = fresh.client.get("/v1/trades/recent", params=params, headers=headers)
        got += numbers(answer)
        late = make_trades(40, start=WHOLE + pages * 40)
        late["event_ns"] -= 700_000_000  # in the midst of what is paged through
        fresh.produce(late)
        pages += 1
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert got == [n for n in range(WHOLE - 1, -1, -1) if n % 20 in (3, 7)]
    assert pages == 15
    again = fresh.client.get("/v1/trades/recent", params={**ALL, "symbol": ["S03", "S07"]}, headers=headers)
    assert len(numbers(again)) == 100 + pages * 4


def test_pages_of_a_symbol_in_lower_case_are_those_of_the_stored_one(service: Service) -> None:
    got: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {**SPAN, "symbol": ["s03", "S07"], "limit": 30, **({"cursor": cursor} if cursor else {})}
        answer = service.client.get("/v1/trades/recent", params=params)
        got += numbers(answer)
        cursor = answer.json()["next"]
    assert got == [n for n in range(WHOLE - 1, -1, -1) if n % 20 in (3, 7)]


def test_what_was_just_acknowledged_is_in_the_answer(fresh: Service) -> None:
    headers = {"Authorization": "Bearer " + "l" * 20}
    for start in range(WHOLE, WHOLE + 200, 20):
        fresh.produce(make_trades(20, start=start))
        newest = fresh.client.get(
            "/v1/trades/recent", params={**SPAN, "symbol": "S19", "limit": 1}, headers=headers
        ).json()
        assert newest["rows"][0]["trade_id"] == start + 19
        assert newest["evidence"]["complete"]


def test_an_answer_that_has_not_changed_is_not_sent_again(service: Service) -> None:
    for path, params in (("/v1/symbols", {}), ("/v1/trades/recent", {**SPAN, "symbol": "S03"})):
        tag = service.client.get(path, params=params).headers["ETag"]
        again = service.client.get(path, params=params, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert "ETag" not in service.client.get("/v1/trades/recent", params={"symbol": "S03"}).headers


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/trades/recent?symbol=x03", 404, "Did you mean S03"),
        ("/v1/trades/recent", 422, "symbol"),
        ("/v1/trades/recent?symbol=S03&limit=0", 422, "limit"),
        ("/v1/trades/recent?symbol=S03&limit=50001", 422, "limit"),
        ("/v1/trades/recent?symbol=S03&window=soon", 422, "window"),
        ("/v1/trades/recent?symbol=S03&window=90d", 422, "longer than 31 days"),
        ("/v1/trades/recent?symbol=S03&window=1m&since=2023-11-14", 422, "exclude"),
        ("/v1/trades/recent?symbol=S03&since=2023-11-15&until=2023-11-14", 422, "before"),
        ("/v1/trades/recent?symbol=S03&cursor=nonsense", 422, "cursor"),
        ("/v1/trades/recent?symbol=S03'%20OR%201=1", 404, "no trade of a symbol"),
        ("/v1/trades/recent?symbol=" + "S" * 33, 422, "not 1 to 32 bytes"),
        ("/v1/trades/recent?" + "&".join(f"symbol=S{n}" for n in range(21)), 422, "symbol"),
        ("/v1/ohlcv?symbol=S03&window=31d&bar=1s", 422, "bars"),
        ("/v1/ohlcv?symbol=S03&bar=0s", 422, "`bar` is between 1ms and 31d"),
        ("/v1/sql?q=SELECT+1", 404, "Not Found"),
        ("/redoc", 404, "Not Found"),
        ("/..%2f..%2fetc/passwd", 404, "Not Found"),
    ],
)
def test_a_mistake_is_a_problem_that_says_what(service: Service, path: str, status: int, words: str) -> None:
    answer = service.client.get(path, headers={"X-Correlation-ID": "mine-17"})
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:k2:problem:")
    assert problem["instance"] == "urn:k2:request:mine-17"
    assert answer.headers["X-Correlation-ID"] == "mine-17"
    assert words in json.dumps(problem)


def test_symbols_by_their_beginning_are_names_of_lake_and_stream(service: Service) -> None:
    found = service.client.get("/v1/symbols", params={"prefix": "s0"}).json()
    assert found == {"symbols": [symbol for symbol in EVERY if symbol.startswith("S0")], "complete": True}
    some = service.client.get("/v1/symbols", params={"prefix": "", "limit": 3}).json()
    assert some == {"symbols": EVERY[:3], "complete": False}
    for wrong in ({"limit": 3}, {"prefix": "S", "limit": 0}, {"prefix": "S" * 65}):
        assert service.client.get("/v1/symbols", params=wrong).status_code == 422

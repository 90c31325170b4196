"""Every parameter with every odd value: an answer or a refusal with a sentence, never an error of ours."""

import base64
import itertools
from typing import Any

import orjson
import pytest

from tests.support.api import SPAN, Service

ODD = [
    *[
        "0",
        "-0",
        "-1",
        "1",
        "00000001",
        "1.5",
        "1e9",
        "1e400",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "0x10",
        "1_0",
        "٣",
        "１",
        "²",
        "9223372036854775807",
        "9223372036854775808",
    ],
    *["null", "true", "é", "'", "%", "[]", "{}"],
    *("", "9" * 18, "9" * 5000, " 1", "1 ", "1\n", "\x00"),
]
DURATIONS = [
    *[
        "0s",
        "0ms",
        "1ms",
        "999us",
        "999999999d",
        "999999999ms",
        "999999999h",
        "1000000000s",
        "-1s",
        "1w",
        "31d",
        "32d",
        "1.5m",
        "٣s",
    ],
    "9" * 5000 + "d",
]
MOMENTS = [
    *[
        "0001-01-01",
        "1969-12-31T23:59:59Z",
        "1970-01-01",
        "2261-12-31",
        "2262-01-01",
        "10000-01-01",
        "300000-01-01",
        "-1000-01-01",
    ],
    *[
        "2023-02-30",
        "2023-11-14T25:00",
        "2023-11-14T22:00:60Z",
        "2023-11-14T22:00:00+99:99",
        "2023-11-14T22:00:00-23:59",
    ],
    *["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1700000000", "1700000000000", "1700000000000000"],
    *["1700000000000000000", "-1", "now", "today"],
]

ROWS = "/v1/trades/recent"
ASKED: dict[str, list[str]] = {"symbol": ["S03"], **{name: [value] for name, value in SPAN.items()}}
CASES = [
    *((ROWS, {"symbol": ["S03"], "window": [value]}) for value in ODD + DURATIONS),
    *((ROWS, {"symbol": ["S03"], "since": [value]}) for value in ODD + MOMENTS),
    *((ROWS, {**ASKED, "until": [value]}) for value in ODD + MOMENTS),
    *((ROWS, {**ASKED, "limit": [value]}) for value in ODD),
    *((ROWS, {**ASKED, "cursor": [value]}) for value in ODD),
    *((ROWS, {**ASKED, "symbol": [value]}) for value in ODD),
    *((ROWS, {**ASKED, name: [*ASKED.get(name, []), "1"]}) for name in ("since", "until", "limit", "unknown")),
    *(("/v1/ohlcv", {**ASKED, "bar": [value]}) for value in ODD + DURATIONS),
    *(("/v1/ohlcv", {"symbol": ["S03"], "window": [value], "bar": ["1d"]}) for value in ODD + DURATIONS),
    *(("/v1/ohlcv", {"symbol": ["S03"], "since": [value], "bar": ["31d"]}) for value in MOMENTS),
    *(("/v1/gaps", {**ASKED, "limit": [value]}) for value in ODD),
    *(("/v1/gaps", {"symbol": ["S03"], "since": [value]}) for value in MOMENTS),
    *(("/v1/symbols", {"symbol": [value]}) for value in ODD),
]


def odd_cursors() -> list[str]:
    """Cursors as this service writes them, with one member changed."""
    good: list[Any] = [[["t", "e", [[0, 5]]]], [1_700_000_000_000_000, 0, 1, 0, "t"], 1_700_000_000_000_000]
    values: list[Any] = [None, True, -1, 0, 1 << 62, (1 << 63) - 1, 1.5, "x", [], {}, [[1]], [[1, 2, 3]], [["a", "b"]],
                         [[0, 1 << 61]], [1 << 61, 1, 1, 1, "\x00'"], [1, 2], "\x00'", [["\x00'", "e", [[0, 1 << 61]]]],
                         [["t", "e", []]], [["t", "e", [[0, 1, 2]]]], [["t", [], {}]]]  # fmt: skip
    changed = [[*good[:at], value, *good[at + 1 :]] for at, value in itertools.product(range(len(good)), values)]
    documents = [*changed, [], {}, None, 5, good[:-1], [*good, 1]]
    return [base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=") for document in documents]


def ask(service: Service, path: str, parameters: dict[str, list[str]]) -> int:
    answer = service.client.get(path, params=parameters)
    assert answer.status_code < 500, (path, parameters, answer.text)
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["type"].startswith("urn:k2:problem:"), answer.text
        assert problem["detail"], answer.text
    return answer.status_code


def test_no_value_of_any_parameter_is_an_error_of_ours(service: Service) -> None:
    found = [ask(service, path, parameters) for path, parameters in CASES]
    assert 200 in found
    assert 422 in found


@pytest.mark.parametrize("path", [ROWS, "/v1/ohlcv", "/v1/gaps", "/v1/symbols", "/v1/status"])
def test_a_parameter_that_would_be_passed_over_is_refused_by_name(service: Service, path: str) -> None:
    asked = {} if path in ("/v1/symbols", "/v1/status") else ASKED
    assert service.client.get(path, params=asked).status_code == 200
    answer = service.client.get(path, params={**asked, "as_of": "2024-01-01"})
    assert answer.status_code == 422, answer.text
    assert "'as_of'" in answer.json()["detail"], answer.text


def test_a_parameter_that_is_given_twice_is_refused(service: Service) -> None:
    answer = service.client.get(ROWS, params={**ASKED, "limit": ["1", "2"]})
    assert answer.status_code == 422, answer.text
    assert "`limit`" in answer.json()["detail"], answer.text


@pytest.mark.parametrize("limit", ["1_0", "１", " 5", "5.0", "+5", "-0", "0x5", "1e1", ""])
def test_a_count_is_digits_and_nothing_else(service: Service, limit: str) -> None:
    for path in (ROWS, "/v1/gaps"):
        assert ask(service, path, {**ASKED, "limit": [limit]}) == 422


@pytest.mark.parametrize(
    "moment", ["1700000000", "2023-11-14T22:00:00.0000001Z", " 2023-11-14", "２０２３-11-14", "2023-11-14T"]
)
def test_a_time_is_iso_to_the_microsecond_and_nothing_else(service: Service, moment: str) -> None:
    for path in (ROWS, "/v1/ohlcv", "/v1/gaps"):
        assert ask(service, path, {"symbol": ["S03"], "since": [moment]}) == 422


def test_no_cursor_is_an_error_of_ours(service: Service) -> None:
    found = [ask(service, ROWS, {**ASKED, "cursor": [cursor]}) for cursor in odd_cursors()]
    assert 200 in found
    assert 422 in found


@pytest.mark.parametrize(
    ("bar", "status"),
    [
        ("1ms", 422),
        ("0s", 422),
        ("999us", 422),
        ("1s", 200),
        ("31d", 200),
        ("32d", 422),
        ("999999999d", 422),
        ("٣s", 422),
    ],
)
def test_a_bar_is_as_long_as_a_window_at_most(service: Service, bar: str, status: int) -> None:
    assert ask(service, "/v1/ohlcv", {**ASKED, "bar": [bar]}) == status


@pytest.mark.parametrize(
    "header",
    [
        *(("Accept", value) for value in ("*/*;q=nan", "a/b;q=1e999", ";;;,", "text/csv;q=" + "9" * 400, ",", "a/b;q")),
        *(("If-None-Match", value) for value in ("*", "W/\"x\"", "x" * 400, '"' * 300)),
        *(("X-Correlation-ID", value) for value in ("x" * 1000, "a\tb")),
        ("Authorization", "Bearer"),
        ("Range", "bytes=0-" + "9" * 300),
    ],
)  # fmt: skip
def test_no_header_is_an_error_of_ours(service: Service, header: tuple[str, str]) -> None:
    name, value = header
    answer = service.client.get(ROWS, params=ASKED, headers=[(name.encode(), value.encode())])
    assert answer.status_code < 500, answer.text

"""The client for notebooks: the stack itself and its service give the same rows with the same proof."""

import sys
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

import k2ctl.client as k2
from k2ctl.api.settings import MOST_ROWS
from k2ctl.errors import NotRunning, StackError, UsageError
from k2ctl.query.names import UnknownSymbol
from tests.made_trades import NEWEST
from tests.support.api import SPAN, WHOLE, Service
from tests.support.flight import KEY

THEN = {"since": datetime(2023, 11, 14, 22, tzinfo=UTC), "until": "2023-11-15"}


def test_recent_trades_come_with_their_proof(client: k2.Client) -> None:
    answer = client.recent("BHP", "15m")
    assert len(answer) == answer.to_arrow().num_rows == NEWEST
    assert answer.complete
    assert answer.reasons == ()
    assert answer.rows_per_source == {"lake": 0, "stream": NEWEST}
    assert answer.freshness_s is not None
    assert 0 <= answer.freshness_s < 300
    assert answer.snapshot_id is not None
    topic = "market.equities.trades.notes1"
    assert sum(answer.watermarks[topic].values()) - sum(answer.boundary[topic].values()) == WHOLE - 450 + NEWEST


def test_rows_of_both_sources_are_counted_and_a_limit_is_said(client: k2.Client) -> None:
    whole = client.recent(["S03", "S04"], **THEN)
    assert (len(whole), whole.rows_per_source, whole.more) == (100, {"lake": 60, "stream": 40}, False)
    cut = client.recent(["S03", "S04"], limit=7, **THEN)
    assert (len(cut), cut.more) == (7, True)
    assert cut.table.equals(whole.table.slice(0, 7))


def test_bars_are_over_the_same_trades(client: k2.Client) -> None:
    bars = client.bars("S03", "1d", zone="UTC", **THEN).to_arrow()
    assert bars.column("trades").to_pylist() == [WHOLE // 20]


def test_sql_takes_values_by_name_and_by_order(client: k2.Client) -> None:
    by_name = client.sql("SELECT count(*) AS n FROM trades WHERE symbol = $symbol", {"symbol": "BHP"})
    assert by_name.to_arrow().to_pylist() == [{"n": NEWEST}]
    assert (by_name.complete, by_name.rows_per_source) == (True, None)
    since = datetime(2024, 1, 1, tzinfo=UTC)
    by_order = client.sql("SELECT symbol FROM trades WHERE timestamp > ? AND quantity >= ?", [since, Decimal("13")])
    assert set(by_order.to_arrow().column("symbol").to_pylist()) == {"BHP"}
    assert client.sql("SELECT 1 AS one").to_arrow().to_pylist() == [{"one": 1}]


def test_symbols_are_listed(client: k2.Client) -> None:
    assert client.symbols().to_arrow().column("symbol").to_pylist() == ["BHP", *(f"S{n:02d}" for n in range(20))]


def test_both_show_what_the_command_line_shows(client: k2.Client) -> None:
    shown = repr(client.recent("BHP", "15m")).splitlines()
    assert shown[0].split() == ["time", "(UTC)", "symbol", "price", "quantity", "side"]
    assert f"… and {NEWEST - 10} more rows, of {NEWEST}" in shown
    assert shown[-1] == "complete"
    assert all(len(line) <= 100 for line in shown[:11])
    page = client.recent("BHP", "15m")._repr_html_()
    assert page.count("<tr>") == 11
    assert page.endswith("complete</p>")


def test_rows_are_frames_of_polars_and_pandas_with_exact_prices(client: k2.Client) -> None:
    answer = client.recent("S03", limit=3, **THEN)
    prices = answer.to_arrow().column("price").to_pylist()
    assert answer.to_polars()["price"].to_list() == prices
    assert answer.to_pandas()["price"].tolist() == prices


@pytest.mark.parametrize("name", ["polars", "pandas"])
def test_a_library_that_is_missing_is_named_with_its_install_command(
    client: k2.Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.recent("S03", limit=1, **THEN)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"{name} is not installed") as missing:
        getattr(answer, f"to_{name}")()
    assert missing.value.hint == f"Install it: pip install {name}"


def test_errors_are_ours_whoever_answers(client: k2.Client) -> None:
    with pytest.raises(UnknownSymbol) as unknown:
        client.recent("BHPP", "15m")
    assert unknown.value.hint == "Did you mean BHP?"
    with pytest.raises(UsageError, match="nothing") as wrong:
        client.sql("SELECT nothing FROM trades")
    assert "DESCRIBE trades" in wrong.value.hint
    with pytest.raises(UsageError, match="Only a single SELECT is run"):
        client.sql("DROP VIEW trades")
    for ask in (
        lambda: client.recent("BHP", "soon"),
        lambda: client.recent("BHP", "15m", since="2024-01-01"),
        lambda: client.recent("BHP", since="yesterday"),
        lambda: client.recent([], "15m"),
        lambda: client.recent("BHP", limit=0),
        lambda: client.bars("BHP", "1 fortnight", "1h"),
        lambda: client.sql("SELECT $a", {"b": 1}),
    ):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.hint


def test_a_service_wants_its_key(noted: Service) -> None:
    for key in (None, "wrong" * 5):
        with k2.connect(noted.url, key) as client:
            for ask in (lambda: client.recent("BHP"), lambda: client.sql("SELECT 1")):
                with pytest.raises(UsageError, match="key") as refused:
                    ask()
                assert "K2CTL_API_KEY" in refused.value.hint


def test_more_rows_than_a_page_are_asked_for_page_by_page_and_joined(
    noted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_ROWS == 50_000
    monkeypatch.setattr("k2ctl.client.service.MOST_ROWS", 7)
    with k2.connect(noted.url, KEY) as client:
        whole = client.recent("S03", **SPAN)
        assert whole.to_arrow().column("trade_id").to_pylist() == [n for n in range(WHOLE - 1, -1, -1) if n % 20 == 3]
        assert (whole.rows_per_source, whole.complete, whole.more) == ({"lake": 30, "stream": 20}, True, False)
        assert len(client.recent("S03", limit=10, **SPAN)) == 10


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "127.0.0.1:8700"])
def test_what_is_no_service_is_said_to_be_none(url: str) -> None:
    with pytest.raises((StackError, UsageError)) as refused, k2.connect(url) as client:
        client.recent("BHP")
    assert refused.value.hint


def test_without_a_stack_it_is_said_how_one_is_started() -> None:
    with pytest.raises(NotRunning) as missing:
        k2.connect().recent("BHP")
    assert "k2ctl stack up" in missing.value.hint


def test_the_functions_ask_the_stack_or_the_service_that_is_configured(
    noted: Service, at_the_stack: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_stack = k2.recent("BHP", "15m")
    monkeypatch.setenv("K2CTL_API_URL", noted.url)
    monkeypatch.setenv("K2CTL_API_KEY", KEY)
    of_service = k2.recent("BHP", "15m")
    assert of_service.table.equals(of_stack.table)
    assert of_service.watermarks == of_stack.watermarks
    assert isinstance(k2.bars("BHP", "1m").to_arrow(), pa.Table)
    assert k2.symbols().table.equals(k2.sql("SELECT DISTINCT symbol FROM trades ORDER BY 1").table)

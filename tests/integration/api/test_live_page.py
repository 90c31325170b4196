"""The live page in a real browser: it asks for the key, and sends it in a header and nowhere else."""

import time
from pathlib import Path

from tests.made_trades import make_trades
from tests.support.api import WHOLE, Service
from tests.support.browser import browser

KEY = "k" * 20
LIVE = "document.querySelector('#state').textContent.startsWith('live')"
CLOSED = "!document.querySelector('#door').hidden"


def test_the_page_asks_for_the_key_and_follows_with_it(fresh: Service, tmp_path: Path) -> None:
    recent = make_trades(40, start=WHOLE)
    recent["event_ns"] += time.time_ns() - 60_000_000_000 - recent["event_ns"].max()
    fresh.produce(recent)
    with browser(tmp_path) as page:
        page.ask("Page.navigate", url=fresh.url + "/")
        page.until(CLOSED)
        page.type("#key", "not the key but as long")
        page.until("document.querySelector('#refusal').textContent !== ''")
        assert page.value("sessionStorage.length") == 0

        page.type("#key", "x" * 20)
        page.until("document.querySelector('#refusal').textContent.includes('does not open')")
        assert page.value("sessionStorage.length") == 0

        page.type("#key", KEY)
        page.until(LIVE)
        page.type("#symbol", "S03")
        page.until("document.querySelectorAll('#trades .buy, #trades .sell').length === 2")
        page.until("document.querySelector('#proof').textContent.startsWith('complete')")
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000

        page.ask("Page.reload")
        page.until(LIVE)
        assert not page.value(CLOSED)
        assert page.value("localStorage.length + document.cookie.length") == 0
        assert page.value("document.querySelector('#key').value") == ""
        asked = page.urls()
        assert any("/v1/events?symbol=S03" in url for url in asked)
        assert all(url.startswith((fresh.url, "data:")) and KEY not in url for url in asked)
        assert page.complaints() == []


def test_the_page_follows_at_once_where_no_key_is_needed_and_comes_back_by_itself(
    service: Service, tmp_path: Path
) -> None:
    with browser(tmp_path) as page:
        page.ask("Page.navigate", url=service.url + "/")
        page.until(LIVE)
        assert not page.value(CLOSED)
        page.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        page.type("#symbol", "S03")
        page.until("document.querySelector('#state').textContent.includes('does not answer')")
        page.ask(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        page.until(LIVE)
        assert page.complaints() == []

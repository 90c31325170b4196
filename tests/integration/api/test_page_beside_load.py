"""The live page beside a million trades: its figures are the platform's, and it outlives the service that it shows."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page, browser
from tests.support.cli import run
from tests.support.service_process import ServiceProcess

RATE, SECONDS = 40_000, 25
LIVE = "document.querySelector('#state').textContent.startsWith('live')"
STORED = "Number(document.querySelectorAll('#balance tr')[1].children[1].textContent.replaceAll(',', ''))"
LAG = "document.querySelector('#chart-lag .canvas').ariaLabel"
HEAR = """window.said = [];
new MutationObserver(all => all.forEach(one => one.addedNodes.forEach(node => said.push(node.data))))
  .observe(news, {childList: true});"""
AWAY = "/does not answer since ..:..:.. UTC; what is below is from then. Trying/.test(state.textContent)"
SIZES = [(1280, 800), (390, 844)]


@pytest.fixture
def platform(home: Path) -> Iterator[ServiceProcess]:
    """A stack with a consumer and a service, each a process."""
    assert run("stack", "up", "--engine", "embedded").returncode == 0
    try:
        started = run("consume", "--detach")
        assert started.returncode == 0, started.stderr
        service = ServiceProcess()
        try:
            yield service
        finally:
            service.stop()
    finally:
        run("consume", "stop", "--all")
        run("stack", "down", "--volumes", "--yes")


def balance(page: Page) -> dict[str, int]:
    """The terms of the accounting identity, as the page shows them."""
    rows = page.value(
        "[...document.querySelectorAll('#balance tr')].map(row => [...row.children].map(c => c.textContent))"
    )
    return {name: int(figure.replace(",", "")) for name, figure, _ in rows}


def follow(page: Page, url: str, size: tuple[int, int], scheme: str) -> None:
    page.become(*size, scheme)
    page.ask("Page.navigate", url=url + "/")
    page.until(LIVE)
    page.type("#symbol", "BHP")
    page.until("document.querySelectorAll('#trades .buy, #trades .sell').length === 12")


@pytest.mark.slow
def test_a_million_trades_are_shown_as_they_are_and_so_is_a_service_that_ended(
    platform: ServiceProcess, tmp_path: Path
) -> None:
    loaded = run("load", "--rate", str(RATE), "--duration", str(SECONDS), "--json", within_s=200)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout)["trades_acknowledged"] >= 1_000_000
    with browser(tmp_path) as page:
        for scheme in ("light", "dark"):
            for size in SIZES:
                follow(page, platform.url, size, scheme)
                assert page.value("document.documentElement.scrollWidth <= innerWidth")
        page.until(f"{STORED} >= 1000000 && document.querySelector('#level').textContent === 'NORMAL'", 60)
        shown, counted = balance(page), json.loads(run("watch", "--once", "--json").stdout)
        assert shown["stored"] == counted["stored"] >= 1_000_000
        assert shown["seen"] == shown["stored"] + shown["duplicate"] + shown["pending"] + shown["lost"]
        proof = page.value("document.querySelector('#proof').textContent")
        assert proof.startswith("complete")

        page.value(HEAR)
        platform.stop()
        page.until(AWAY)
        assert balance(page) == shown
        assert page.value("document.querySelector('#news').textContent").startswith("The service does not answer")
        time.sleep(10)  # so long that it is seen as a hole
        platform.start()
        page.until(LIVE, 60)
        page.until(f"/[1-9] holes?, in which nobody saw it/.test({LAG})")
        page.until("said.includes('The service answers again.')")

        platform.pause()  # it takes connections, and says nothing
        page.until(AWAY, 30)
        platform.resume()
        page.until(LIVE, 30)
        assert page.complaints() == []

"""The OpenAPI document and the runbooks as pages, in a real browser and without the network."""

from pathlib import Path

from tests.support.api import Service
from tests.support.browser import browser

KEY = "k" * 20
TRIED = ("#operations-Platform-status_v1_status_get .opblock-summary-control", ".try-out__btn", ".execute")
STATUS = "document.querySelector('.live-responses-table tbody .response-col_status')"


def test_the_page_asks_for_the_key_shows_every_endpoint_and_tries_one(fresh: Service, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        page.ask("Page.navigate", url=fresh.url + "/docs")
        page.until("!document.querySelector('#door').hidden")
        page.type("#key", KEY)
        page.until("document.querySelectorAll('.opblock').length >= 9")
        page.screenshot(tmp_path / "docs.png")
        for control in TRIED:
            page.until(f"document.querySelector('{control}') !== null")
            page.value(f"document.querySelector('{control}').click()")
        page.until(f"{STATUS} !== null && {STATUS}.textContent.startsWith('200')")
        assert all(url.startswith((fresh.url, "data:")) and KEY not in url for url in page.urls())
        assert page.complaints() == []


def test_a_runbook_is_led_to_by_its_anchor(service: Service, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        page.ask("Page.navigate", url=service.url + "/runbook#k2laghigh")
        page.until("document.querySelector('h3:target')?.textContent === 'K2LagHigh'")
        page.screenshot(tmp_path / "runbook.png")
        assert page.complaints() == []

"""The live page while the platform is in trouble: what it says is what was reported, on opening and by keyboard."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from k2ctl.api.settings import Settings
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.status_parts import PartitionStatus, SequenceCounts, Transition
from k2ctl.endpoints import Endpoints
from tests.made_trades import make_trades
from tests.support.api import WHOLE, Service, platform, serving
from tests.support.browser import Page, browser
from tests.support.polling import until
from tests.support.reporting import Reporting, reporting

LIVE = "document.querySelector('#state').textContent.startsWith('live')"
SHUT = "document.querySelector('#found').hidden"
WHY = "lag 1,234,567 ≥ 1,000,000 trades, +4,321/s"

_LOW = {"process": 0, "spill": 250, "shed": 750}


@dataclass
class Incident:
    """A page that is open on a platform at AGGRESSIVE."""

    page: Page
    service: Service
    consumer: Reporting
    began_us: int
    opened_us: int

    def text(self, selector: str) -> str:
        return str(self.page.value(f"document.querySelector('{selector}').innerText"))

    def figure(self, name: str) -> str:
        boxes = "[...document.querySelectorAll('#figures div')]"
        return str(
            self.page.value(f"{boxes}.find(box => box.children[0].textContent === '{name}').children[1].textContent")
        )


@pytest.fixture(scope="module")
def incident(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incident]:
    """The consumer reports before the page is opened, so that there is a history."""
    folder = tmp_path_factory.mktemp("incident")
    endpoints, topic = platform(embedded_stack, folder, "PAGE1")
    began_us = time.time_ns() // 1000
    moves = [
        Transition(began_us - 60_000_000, "NORMAL", "SOFT", "lag 100,001 ≥ 100,000 trades"),
        Transition(began_us - 20_000_000, "SOFT", "AGGRESSIVE", WHY),
    ]
    figures = {
        "level": "AGGRESSIVE", "level_number": 3, "level_reason": WHY, "transitions": moves, "cooldown_left_s": 9.0,
        "lag_trades": 1_234_567, "lag_seconds": 123.4, "pending": 4_213, "outstanding": 7_600, "memory_share": 0.84,
        "counts": Counts(seen=100_000, stored=92_000, shed=8_000), "backfilled": 400, "intake": "open",
        "sequence": SequenceCounts(open_gaps=12, missing_trades=345),
        "by_priority": {"CRITICAL": {"process": 900, "spill": 0, "shed": 0}, "LOW": _LOW},
        "partitions": [PartitionStatus(0, 50, 40, 60), PartitionStatus(7, 50, 10, 60)],
    }  # fmt: skip
    recent = make_trades(40, start=WHOLE)
    recent["event_ns"] += time.time_ns() - 60_000_000_000 - recent["event_ns"].max()
    with (
        reporting(endpoints, "c-of-page", **figures) as consumer,
        serving(endpoints, topic, Settings(port=0)) as service,
        browser(folder) as page,
    ):
        service.produce(recent)
        until(lambda: [lag for lag in service.client.get("/v1/history").json()["series"]["lag_trades"] if lag][1:], 20)
        opened_us = time.time_ns() // 1000
        page.ask("Page.navigate", url=service.url + "/")
        page.until(LIVE)
        page.until("document.querySelector('#level').textContent === 'AGGRESSIVE'")
        yield Incident(page, service, consumer, began_us, opened_us)
        assert page.complaints() == []


def test_it_says_first_how_it_is_since_when_why_and_what_to_do(incident: Incident) -> None:
    since = time.strftime("%H:%M:%S", time.gmtime(incident.began_us / 1e6 - 20))
    assert incident.text("#since").startswith(f"since {since} UTC, for ")
    assert incident.text("#why") == WHY
    assert "LOW left in Kafka" in incident.text("#handling")
    assert incident.page.value("document.querySelector('#ladder [aria-current=step] b').textContent") == "AGGRESSIVE"
    assert incident.page.value("document.title") == "AGGRESSIVE · K2"


def test_what_is_wrong_leads_to_its_runbook(incident: Incident) -> None:
    page = incident.page
    page.until("document.querySelectorAll('#advice .wrong a').length > 0")
    links = page.value("[...document.querySelectorAll('#advice a')].map(link => link.getAttribute('href'))")
    for link in links:
        path, _, anchor = link.partition("#")
        assert f'id="{anchor}"' in incident.service.client.get("/" + path).text
    for path in page.value("[...document.querySelectorAll('nav a')].map(link => link.getAttribute('href'))"):
        assert path.startswith("#") or incident.service.client.get("/" + path).status_code == 200


def test_its_figures_are_those_that_were_reported(incident: Incident) -> None:
    shown = {name: incident.figure(name) for name in ("lag", "pending", "deferred", "memory", "gaps", "intake", "lost")}
    assert shown == {
        "lag": "1,234,567", "pending": "4,213", "deferred": "7,600", "memory": "84 %", "gaps": "12", "intake": "open",
        "lost": "0",
    }  # fmt: skip
    balance = incident.text("#balance").replace("\t", " ")
    assert "seen 104,213" in balance
    assert "stored 92,000" in balance
    assert "deferred 8,000 400 backfilled by now" in balance
    assert "LOW 0 250 750 100 %" in incident.text("#priorities").replace("\t", " ")
    assert [WHY in incident.text("#moves"), "lag 100,001" in incident.text("#moves")] == [True, True]
    assert "2 partitions, the slowest 7: 50 records behind" in incident.text("#consumers")


def test_the_history_is_there_on_opening_and_can_be_read_as_a_table_and_by_arrow_keys(incident: Incident) -> None:
    page = incident.page
    page.until("document.querySelector('#chart-lag .canvas').ariaLabel.includes('Now 1,234,567, at most 1,234,567')")
    page.value("document.querySelector('#chart-lag summary').click()")
    page.until("document.querySelectorAll('#chart-lag tbody tr').length > 1")
    oldest = incident.text("#chart-lag tbody tr:last-child th")
    assert oldest < time.strftime("%H:%M:%S", time.gmtime(incident.opened_us / 1e6))
    page.value("document.querySelector('#chart-lag .canvas').focus()")
    page.press("ArrowLeft", 2)
    page.until("document.querySelector('#chart-lag .canvas').getAttribute('aria-valuetext').includes('lag 1,234,567')")
    assert "AGGRESSIVE" in incident.text("#chart-lag .when")
    page.press("Escape")
    assert incident.text("#chart-lag .when") == ""


def test_the_pointer_reads_all_charts_at_one_time(incident: Incident) -> None:
    page = incident.page
    page.value("document.querySelector('#chart-lag').scrollIntoView()")
    page.point("#chart-lag .u-over", 0.995)
    page.until("document.querySelector('#chart-lag .when').textContent.endsWith(', AGGRESSIVE')")
    times = page.value("[...document.querySelectorAll('#platform .when')].map(one => one.textContent.slice(0, 8))")
    assert (len(times), len(set(times))) == (4, 1)
    assert incident.text("#chart-memory .keys") == "memory 84 %"
    page.point("h1", 0.5)


def test_a_change_of_level_is_announced_and_a_tick_is_not(incident: Incident) -> None:
    page = incident.page
    page.value(
        "window.said = []; new MutationObserver(() => said.push(news.textContent)).observe(news, {childList: true})"
    )
    seen = page.value("document.querySelector('#state').textContent")
    page.until(f"document.querySelector('#state').textContent !== '{seen}'")
    incident.consumer.say(level="GRACEFUL", level_number=2, level_reason="lag 600,000 ≥ 500,000 trades")
    page.until("said.length === 1")
    assert page.value("said[0]") == "Level GRACEFUL. lag 600,000 ≥ 500,000 trades"
    incident.consumer.say(level="AGGRESSIVE", level_number=3, level_reason=WHY)
    page.until("document.querySelector('#level').textContent === 'AGGRESSIVE'")


def test_a_symbol_is_found_by_keyboard_and_shown_with_bars_and_aligned_trades(incident: Incident) -> None:
    page = incident.page
    page.write("#symbol", "S0")
    page.until("document.querySelectorAll('#found [role=option]').length > 3")
    page.press("ArrowDown", 4)
    marked = page.value("document.getElementById(symbol.getAttribute('aria-activedescendant')).textContent")
    page.press("Escape")
    assert page.value(SHUT)
    page.press("ArrowDown")
    page.until(f"!{SHUT}")
    page.press("Escape")
    page.write("#symbol", marked)
    page.until("document.querySelectorAll('#found [role=option]').length === 1")
    page.press("ArrowDown")
    page.press("Enter")
    assert page.value(SHUT)
    page.until("document.querySelectorAll('#trades .buy, #trades .sell').length === 2")
    assert incident.text("#proof").startswith("complete")
    answer = incident.service.client.get("/v1/ohlcv", params={"symbol": marked, "bar": "1m", "window": "1h"}).json()
    volume = sum(float(bar["volume"]) for bar in answer["rows"])
    page.until(f"document.querySelector('#chart-bars .canvas').ariaLabel.includes('{marked}: from')")
    assert f"; {volume:,.0f} traded." in page.value("document.querySelector('#chart-bars .canvas').ariaLabel")


def test_decimals_stand_under_each_other(incident: Incident) -> None:
    aligned = "import('/static/format.js').then(format => format.aligned(['1042.5', '7', '42.505']))"
    assert incident.page.value(aligned) == ["1,042.5\u2007\u2007", "7\u2008\u2007\u2007\u2007", "42.505"]


def test_what_nobody_saw_is_a_hole(incident: Incident) -> None:
    script = """import('/static/history.js').then(({History}) => {
      const kept = {step_s: 2, at_us: [0, 2e6], series: {level_number: [0, 0], lag_trades: [1, 2]}, transitions: []};
      const history = new History();
      history.load(kept);
      history.add(60e6, {transitions: [], ladder: [{}], level_number: 1, lag_trades: 9});
      history.load({...kept, at_us: [120e6, 122e6], series: {level_number: [null, 2], lag_trades: [null, 7]}});
      return history.columns(5, ['level_number', 'lag_trades']);
    })"""
    assert incident.page.value(script) == [
        [0, 2, 4, 60, 62, 120, 122],
        [0, 0, None, 1, None, None, 2],
        [1, 2, None, 9, None, None, 7],
    ]

"""The live page on a desk and on a phone, in light and dark, for eyes, keys and readers of the screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.domain.status_parts import SequenceCounts, Transition
from tests import support
from tests.support.api import Service
from tests.support.browser import Page, browser
from tests.support.reporting import reporting

SIZES = [(1280, 800), (390, 844)]
CONTRASTS = (Path(support.__file__).parent / "contrasts.js").read_text("utf-8")
WATCH_SHIFTS = """window.shifts = 0;
new PerformanceObserver(list => list.getEntries().forEach(one => shifts += one.value))
  .observe({type: 'layout-shift', buffered: true});"""
STEP = """(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return '';
  const name = at.id || at.getAttribute('name') || at.closest('figure')?.id + ' ' + at.tagName;
  return [name, getComputedStyle(at.type === 'radio' ? at.nextElementSibling : at).outlineStyle];
})()"""
OUTSIDE = """[...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def page(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser beside a platform of which there is much to say."""
    moves = [Transition(1_700_000_000_000_000 + n, "SOFT", "GRACEFUL", f"lag {n} ≥ 500,000 trades") for n in range(9)]
    figures = {
        "level": "GRACEFUL", "level_number": 2, "level_reason": moves[0].reason, "transitions": moves,
        "lag_trades": 600_000, "outstanding": 7_600_000, "sequence": SequenceCounts(open_gaps=3, missing_trades=9),
        "waiting": "the catalog does not answer, and says why in a sentence that is longer than a phone is wide",
    }  # fmt: skip
    with reporting(service.endpoints, "c-of-all", **figures), browser(tmp_path_factory.mktemp("page")) as tab:
        tab.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH_SHIFTS)
        yield tab


def opened(page: Page, service: Service, size: tuple[int, int], scheme: str) -> None:
    page.become(*size, scheme)
    page.ask("Page.navigate", url=service.url + "/")
    page.until("document.querySelector('#level')?.textContent === 'GRACEFUL'")
    page.type("#symbol", "S03")
    page.until("document.querySelectorAll('#trades td').length > 30")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
def test_it_fits_can_be_read_and_does_not_jump(
    page: Page, service: Service, size: tuple[int, int], scheme: str
) -> None:
    opened(page, service, size, scheme)
    seen = page.value("document.querySelector('#state').textContent")
    page.until(f"document.querySelector('#state').textContent !== '{seen}'")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    assert page.value(OUTSIDE) == []
    texts = page.value(CONTRASTS)
    assert len(texts) > 100
    assert [text for ratio, text in texts if ratio < 4.5] == []
    assert page.value("shifts") < 0.02
    assert page.complaints() == []


def test_every_control_is_reached_by_the_tab_key_and_shows_it(page: Page, service: Service) -> None:
    page.become(*SIZES[0], "light")
    page.ask("Page.navigate", url=service.url + "/")
    page.until("document.querySelector('#level')?.textContent === 'GRACEFUL'")
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().top >= 0")
    reached = []
    for _ in range(40):
        page.press("Tab")
        step = page.value(STEP)
        if not step:
            break
        reached.append(step)
    assert {outline for _, outline in reached} == {"solid"}
    names = {name for name, _ in reached}
    assert {"advice", "span", "moves", "symbol", "reach"} <= names
    for chart in ("lag", "rates", "unstored", "memory", "bars"):
        assert {f"chart-{chart} DIV", f"chart-{chart} SUMMARY"} <= names


def test_a_reader_of_the_screen_finds_landmarks_headings_and_names(page: Page, service: Service) -> None:
    opened(page, service, SIZES[1], "dark")
    page.ask("Accessibility.enable")
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"]]
    roles = {node["role"]["value"] for node in shown}
    assert {"banner", "navigation", "main", "region", "heading", "table", "combobox", "status", "radio"} <= roles
    for node in shown:
        if node["role"]["value"] in {"link", "button", "combobox", "radio", "region", "slider", "table", "navigation"}:
            named = node.get("name", {}).get("value") or node["role"]["value"] == "table"
            assert named, node
    sliders = [node["name"]["value"] for node in shown if node["role"]["value"] == "slider"]
    assert [text.split(",")[0] for text in sliders] == ["Lag", "Rates", "Not stored yet", "Memory", "Price and volume"]
    assert "Now 600,000" in sliders[0]


def test_nothing_moves_for_those_who_want_no_motion(page: Page, service: Service) -> None:
    opened(page, service, SIZES[0], "light")
    beats = "document.querySelector('.dot').getAnimations().length"
    assert page.value(beats) == 1
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert page.value(beats) == 0

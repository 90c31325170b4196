"""The demo's findings, curves and report: whole at every width, valid, and complete in themselves."""

import io
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console, RenderableType

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.result import ActResult, Bars, DemoResult, Facts, Finding_, Grid, Sample, Tick
from k2ctl.demo.story import ACTS, FINALE
from k2ctl.domain.overview import Overview
from k2ctl.views.acts import duel_view, finding_lines, finding_panel, notes_view
from k2ctl.views.report import Curve, curves_svg, report_page
from k2ctl.views.style import seconds

FACTS = Facts("some <facts>", (("offset", "1 & 2"), ("file", "x" * 48)), "A note.")
BARS = Bars("steps", (("decode", 0.5, "500 ms"), ("commit", 1.0, "1,000 ms")), "Measured.")
GRID = Grid("a month", ("", "10K", "1M"), (("Kafka", "10", "1,000"), ("Lake", "7", "70")), "Extrapolated.")
SAMPLES = [Sample(at / 2, min(at // 4, 4), at * 5_000, at / 4, at / 10 or None, at / 2) for at in range(40)]
CHECKS = [DemoCheck("it holds & more", True, "5 < 6"), DemoCheck("it does not", False, "7 > 6")]
VOID = {"meta"}


def demo_result() -> DemoResult:
    acts = [ActResult(act.billing, [], [FACTS, BARS, GRID], CHECKS, SAMPLES, 12.5) for act in (*ACTS, FINALE)]
    thresholds = (("NORMAL", 0), ("SOFT", 20_000), ("CIRCUIT_BREAK", 150_000))
    machine = (("processor", "some CPU, 2 CPUs"), ("memory", "24.0 GiB"))
    return DemoResult("embedded", acts, thresholds, 1_234_567, 70.0, True, "2026-11-24 14:00 UTC", machine)


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed, in order. text: what is to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_report_says_every_check_and_figure_and_the_machine() -> None:
    text = read(report_page(demo_result())).text
    for expected in (*(check.claim for check in CHECKS), *(check.measured for check in CHECKS), "1,234,567 trades"):
        assert expected in text
    for expected in ("some <facts>", "1 & 2", "1,000 ms", "Extrapolated.", "some CPU", "2026-11-24", "naive consumer"):
        assert expected in text
    assert "5 of 10 checks held" in text


def test_the_report_stands_alone() -> None:
    page = report_page(demo_result())
    assert not {"script", "link", "img", "iframe"} & set(read(page).tags)
    for reference in ("http:", "https:", "url(", "src=", "@import"):
        assert reference not in page


def test_an_act_without_samples_has_no_curves() -> None:
    story = demo_result()
    story.acts = [replace(act, samples=[]) for act in story.acts]
    assert "svg" not in read(report_page(story)).tags


def test_a_curve_is_broken_where_nothing_is_known_and_stays_within_the_picture() -> None:
    svg = curves_svg([Curve("wait", "red", [(0, 0.0), (1, None), (2, 500.0), (3, 1.0)])], [], [], seconds, 0.1)
    assert svg.count('stroke="red"') == 2
    numbers = [float(part) for part in svg.split('d="M')[-1].split('"')[0].replace("L", " ").split()]
    assert all(0 <= number <= 480 for number in numbers)


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("finding", [FACTS, BARS, GRID])
def test_a_finding_fits_and_shows_every_value(finding: Finding_, width: int) -> None:
    text = drawn(finding_panel(finding), width)
    for row in finding.rows:
        assert str(row[0]) in text
        assert str(row[-1]) in text
    assert finding.note in text
    assert any(finding.rows[0][0] in line for line in finding_lines(finding))


@pytest.mark.parametrize("width", [80, 160])
def test_the_duel_fits_and_says_how_long_each_side_waits(width: int) -> None:
    tick = Tick(Overview.of([]), SAMPLES[-1], {"lag_records": 123_456, "rate": 20_000})
    text = drawn(duel_view(tick, SAMPLES, width, 15), width)
    assert len(text.splitlines()) == 15
    for expected in ("naive: one queue", "K2: priorities", "19.5 s", "3.9 s", "123k trades wait"):
        assert expected in text


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 3, 4])
def test_the_notes_of_each_act_fit_a_small_terminal(number: int) -> None:
    text = drawn(notes_view(number), 80)
    assert len(text.splitlines()) <= 23


def drawn(view: RenderableType, width: int) -> str:
    canvas = Console(width=width, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(view)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    return text

"""The demo: acts while they are played, what they find, and how it ended."""

import io
import threading
from dataclasses import replace
from typing import Final

from rich.console import Console, RenderableType

from k2ctl.demo.architecture import hex_lines
from k2ctl.demo.checks import DemoCheck, naive_waited
from k2ctl.demo.result import ActResult, Bars, DemoResult, Facts, Finding_, Grid, Sample, Tick
from k2ctl.demo.scale import WHAT_WHEN
from k2ctl.demo.story import ACTS, FINALE
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import LoadStatus
from k2ctl.views.acts import notes_view
from k2ctl.views.demo import Screen, verdict
from tests.support.overviews import made
from tests.support.shown import Shown
from tests.support.statuses import a_status

_AT_US: Final = 1_700_000_000_000_000
_CHECKS: Final = (
    naive_waited(4.3),
    DemoCheck("every query while commits were happening was complete, without a hole", True, "23 of 23, median 103 ms"),
    DemoCheck(
        "priced with what was just measured (with the profile's)", True,
        "10K 1,425 USD (1,488), 1M 18,693 USD (26,672), 10M 156,601 USD (227,976)",
    ),
)  # fmt: skip
_LOAD: Final = LoadStatus("load-1", _AT_US, "t", 198_765.0, 200_000.0, 123_456, 0.0, "")
FINDINGS: Final[dict[str, Finding_]] = {
    "bytes": Facts(
        "market.equities.trades.asx, partition 0, offset 57,649", hex_lines(bytes(range(40, 152)) + bytes(88)),
        "200 bytes of SBE: a header of 8, then the trade. No text to parse.",
    ),
    "steps": Bars(
        "20,000 trades through the pipeline",
        tuple((step, took, f"{took * 1000:7.1f} ms") for step, took in (("decode", 0.0123), ("dedup", 0.1043))),
        "Measured just now, on this machine. Columns all the way: no Python loop over trades.",
    ),
    "seam": Grid(
        "newest trade of BHP", ("", "before the commit", "after the commit"),
        (("snapshot", "6413679810505938113", "274712484351875533"), ("Kafka from offset", "34,841 of 40,224", "none")),
    ),
    "platforms": Grid(
        "a platform's month: as just measured | as its profile assumes", ("trades/s", "10K", "1M", "10M"),
        (("Kafka", "    812 |     812", " 10,123 |  10,123", "101,234 | 101,234"),
         ("USD a million", " 0.0501 |  0.0532", " 0.0071 |  0.0101", " 0.0058 |  0.0084")),
        "Extrapolated. List prices of 2026-11-24, us-east-1. Line by line: k2ctl cost --scale 1M --measured",
    ),
    "what-when": Grid("what to turn on when", ("when you have", "turn on"), WHAT_WHEN),
}  # fmt: skip


def _screen(*acts: int, ended: bool = False) -> Screen:
    """The screen in the last of these acts."""
    screen = Screen(Console(file=io.StringIO(), width=80), threading.Event())
    for number in acts:
        act = ActResult((*ACTS, FINALE)[number - 1].billing, checks=list(_CHECKS), seconds=12.3 * number)
        screen.begins(act)
        if number == acts[-1] and not ended:
            act.checks.clear()
        else:
            screen.ends(act)
    return screen


def _starting(width: int, height: int) -> RenderableType:
    screen = _screen()
    screen.step("Starting a stack of its own, embedded; it is gone afterwards")
    return screen.view(width, height - 1)


def _duel(width: int, height: int) -> RenderableType:
    screen = _screen(1)
    screen.step("15,000 trades a second each, then the open")
    overview = replace(made(2), consumers=[a_status()])
    for at in range(60):
        sample = Sample(at / 2, 2, 1_000, 2.0, max(0.1, at / 30), max(0.2, at / 6))
        screen._act.samples.append(sample)  # type: ignore[union-attr]
        screen.tick(Tick(overview, sample, {"lag_records": 123_456, "rate": 14_987.0}))
    screen.check(_CHECKS[0])
    return screen.view(width, height - 1)


def _between(width: int, height: int) -> RenderableType:
    screen = _screen(1, 2, 3, 4)
    screen.step("Drain 1: 200,000 trades into Kafka, while nobody reads")
    overview = replace(Overview.of([], at_us=_AT_US), loaders=[_LOAD])
    screen.tick(Tick(overview, Sample(0.0, 0, None, None, None)))
    return screen.view(width, height - 1)


def _ladder(width: int, height: int) -> RenderableType:
    screen = _screen(1, 2, 3)
    screen.step("A consumer that may process 20,000 trades a second meets 45,000; 1 in 100 is sent twice")
    for at in range(0, 200, 4):
        overview = replace(made(3, at * 1_000), at_us=_AT_US + at * 500_000)
        screen.tick(Tick(overview, Sample(at / 2, 3, at, 1.0, 1.0)))
    for check in _CHECKS:
        screen.check(check)
    return screen.view(width, height - 1)


def _reconciled(width: int, height: int) -> RenderableType:
    screen = _screen(1, 2, 3, 4, 5)
    screen.step("Reconciling what Kafka acknowledged with what the table holds")
    for check in _CHECKS:
        screen._act.checks.append(check)  # type: ignore[union-attr]
        screen.check(check)
    return screen.view(width, height - 1)


def _ended(width: int, height: int) -> RenderableType:
    acts = [ActResult(act.billing, checks=list(_CHECKS), seconds=12.3) for act in (*ACTS, FINALE)]
    return verdict(DemoResult("embedded", acts, seconds=58.7, finished=True), recall=True)


def _found(name: str) -> Shown:
    def shown(width: int, height: int) -> RenderableType:
        screen = _screen(1, 2)
        screen.step("What was found, and what was said before it")
        screen.show(FINDINGS[name])
        screen.check(_CHECKS[-1])
        return screen.view(width, height - 1)

    return shown


SCREENS: Final[dict[str, Shown]] = {
    "demo-starting": _starting,
    "demo-act-1": _duel,
    "demo-act-3": _ladder,
    "demo-act-4": _between,
    "demo-reconciliation": _reconciled,
    "demo-result": _ended,
    "demo-notes": lambda *_: notes_view(3),
    **{f"demo-finds-{name}": _found(name) for name in FINDINGS},
}

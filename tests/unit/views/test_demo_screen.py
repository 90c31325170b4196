"""What the audience of the demo sees between the findings."""

import io
import threading
from dataclasses import replace

from rich.console import Console

from k2ctl.demo.result import ActResult, Sample, Tick
from k2ctl.demo.story import ACTS
from k2ctl.domain.overview import Overview
from k2ctl.views.demo import Screen
from tests.support.statuses import a_ladder

NOBODY = Overview.of([], at_us=1_700_000_000_000_000)
SAMPLE = Sample(0.0, 0, None, None, None)


def shown(*overviews: Overview) -> str:
    """The screen of act 2 after these ticks."""
    screen = Screen(Console(file=io.StringIO(), width=80), threading.Event())
    screen.begins(ActResult(ACTS[1].billing))
    for overview in overviews:
        screen.tick(Tick(overview, SAMPLE))
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(screen.view(80, 23))
    return captured.get()


def test_before_the_first_consumer_of_an_act_the_screen_does_not_call_its_level_unknown() -> None:
    before = shown(NOBODY)
    assert "UNKNOWN" not in before
    assert len(before.splitlines()) == 23


def test_a_consumer_that_falls_silent_is_part_of_the_story() -> None:
    reporting = replace(NOBODY, level="NORMAL", ladder=a_ladder())
    assert "degradation: NORMAL" in shown(NOBODY, reporting)
    assert "degradation: UNKNOWN" in shown(reporting, NOBODY)

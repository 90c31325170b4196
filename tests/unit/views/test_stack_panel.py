"""The end of `stack up`: where everything answers, or how far it came."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from k2ctl.clock import ManualClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import StackError
from k2ctl.stack.engine import Board, Event, Phase, Up
from k2ctl.views import stack

ENDPOINTS = Endpoints(
    "docker", "127.0.0.1:9092", "postgresql+psycopg://k2:word@127.0.0.1:5432/k2", "s3://k2-lake/warehouse"
)


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=24, no_color=True)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return Text.from_ansi(console.file.getvalue()).plain


@pytest.mark.parametrize("width", [80, 160])
def test_pages_are_shown_with_how_to_get_in_and_never_the_password(width: int) -> None:
    web = {"prometheus": "http://127.0.0.1:9090", "grafana": "http://127.0.0.1:3000"}
    console = terminal(width)
    console.print(stack.up_panel(Up(ENDPOINTS, False, False, 9.0, (), web, "/home/k2/docker/secrets", ("api",))))
    shown = text(console)
    assert "http://127.0.0.1:3000/d/k2-degradation" in shown
    assert "user admin" in shown
    assert "/home/k2/docker/secrets/grafana_password" in shown
    assert "--service api" in shown
    assert "word@" not in shown
    assert "API" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_when_it_fails_the_board_stays_with_the_service_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    console = terminal()
    monkeypatch.setattr(stack, "err", lambda: console)

    def fail() -> None:
        with stack.service_progress("k2ctl stack up") as report:
            report(Event(Phase.HEALTHY, "redis"))
            report(Event(Phase.FAILED, "kafka", "ended with exit code 1"))
            raise StackError("kafka ended with exit code 1.")

    with pytest.raises(StackError):
        fail()
    last = text(console).splitlines()[-2:]
    assert "✓ redis" in last[0]
    assert "✗ kafka" in last[1]
    assert "ended with exit code 1" in last[1]


def test_what_is_done_never_becomes_less() -> None:
    board = Board("k2ctl stack up")
    for share in (0.5, 0.2, None, 0.6):
        board = board.after(Event(Phase.PULL, "kafka", "an image", share), 1.0)
        shown = board.rows["kafka"].event.share
        assert shown == (None if share is None else max(share, 0.5))
    assert board.after(Event(Phase.BUILD, "kafka", "", 0.1), 2.0).rows["kafka"].event.share == 0.1


def test_a_pipe_gets_each_step_at_once_and_a_line_a_second_of_one_that_goes_on() -> None:
    clock = ManualClock()
    lines = stack.StepLines(clock)
    printed = []
    for number in range(16):
        clock.advance(0.25)
        if lines.wants(f"topic: {number:,} records, {number}%"):
            printed.append(number)
    assert printed == [0, 4, 8, 12]
    assert lines.wants("comparing counts")
    assert lines.wants("reading the table, part 1 of 1")

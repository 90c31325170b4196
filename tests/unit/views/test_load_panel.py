"""What `k2ctl load` shows while it runs and when it ends."""

import fcntl
import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from k2ctl.commands.load import _beside_others
from k2ctl.kafka.producer import NOT_IN_TIME
from k2ctl.load.generator import LoadSummary
from k2ctl.load.workers import LoadSnapshot
from k2ctl.views.load import progress_text, summary_table

WHY = "a partition holds 82% of its 5 MiB unread; waiting for a consumer"
LATENCY = {"p50": 1.0, "p99": 2.0, "p99.9": 3.0, "p100": 4.0}


def lines(shown: RenderableType) -> list[str]:
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(shown)
    return captured.get().splitlines()


def test_a_load_under_way_is_one_line_of_eighty_columns() -> None:
    snapshot = LoadSnapshot(54.8, 60.0, 10_000, 10_512.0, 147_447, 600_000, 443, 0.0, "")
    (line,) = lines(progress_text(snapshot))
    assert line.endswith("in flight 443")


@pytest.mark.parametrize("duration_s", [0.0, 60.0])
def test_what_a_load_waits_for_is_not_cut(duration_s: float) -> None:
    snapshot = LoadSnapshot(21.9, duration_s, 0.0, 0.0, 128_000, 200_545, 0, 20.0, WHY)
    assert f"PAUSED: {WHY}" in " ".join(" ".join(lines(progress_text(snapshot))).split())


def test_the_time_of_a_load_is_distinguished_from_the_time_it_was_paused() -> None:
    summary = LoadSummary(200_545, 200_545, 0, 0.0, 738_885.0, False, 0.271, 0.0, 4.2, 5_480_000, 1, LATENCY, LATENCY)
    shown = [" ".join(line.split()) for line in lines(summary_table(summary))]
    at = shown.index("sent in 271 ms")
    assert shown[at + 1] == "paused for a consumer 4.2 s"
    assert shown[-1] == "sent to Kafka 5.48 MB"


def test_a_load_beside_another_says_what_that_does_to_gaps(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _beside_others():
        assert capsys.readouterr().err == ""
        with (home / "load.lock").open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _beside_others():
            assert "Another load runs" in capsys.readouterr().err


def test_what_was_not_acknowledged_has_its_reasons_and_is_said_to_become_gaps() -> None:
    summary = LoadSummary(
        100,
        100,
        12,
        0.0,
        100.0,
        False,
        1.0,
        0.0,
        0.0,
        1,
        1,
        {},
        {},
        failed_by={"Broker: Not leader": 9, NOT_IN_TIME: 3},
    )
    shown = [" ".join(line.split()) for line in lines(summary_table(summary))]
    at = shown.index("trades not acknowledged 12")
    assert shown[at + 1 : at + 3] == ["Broker: Not leader 9", f"{NOT_IN_TIME} 3"]
    assert "numbers are missing k2ctl gaps" in shown[at + 3]


def test_what_a_replay_found_in_its_files_is_shown() -> None:
    broken = [{"file": "A.csv", "line": at, "reason": "4 columns, not 5"} for at in range(1, 31)]
    summary = LoadSummary(
        100, 100, 0, 0.0, 100.0, False, 1.0, 0.0, 0.0, 1, 1, {}, {},
        files=3, broken_lines=31, first_broken=broken, filtered=7, late=2,
    )  # fmt: skip
    shown = [" ".join(line.split()) for line in lines(summary_table(summary))]
    at = shown.index("files 3")
    assert shown[at + 1 : at + 5] == [
        "no trades by the feed 7",
        "too late in their file, sent late 2",
        "broken lines, left out 31",
        "A.csv:1 4 columns, not 5",
    ]
    assert len(shown) == at + 14, "ten of them"


def test_a_replay_shows_the_time_that_it_has_reached() -> None:
    snapshot = LoadSnapshot(5.0, 0.0, 0.0, 10.0, 50, 0, 0, 0.0, "", 1_735_689_600_000_000_000)
    assert lines(progress_text(snapshot))[0].startswith("replaying for 5.0 s, at 2025-01-01T00:00:00  10/s")

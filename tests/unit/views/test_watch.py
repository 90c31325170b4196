"""The watch screen: of one height at every level, within its width, and readable without colour."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from k2ctl.domain.dedup_status import DedupStatus, TierStatus
from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import GroupCommitStatus, StateSyncStatus
from k2ctl.errors import UsageError
from k2ctl.kafka.telemetry import paced, read_recording
from k2ctl.views.chart import Threshold, log_chart
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.line import watch_line
from k2ctl.views.watch.overview import watch_screen
from tests.support.overviews import LEVELS, made
from tests.support.statuses import a_status


def lines(overview: Overview, width: int, height: int, color: str | None = None) -> list[str]:
    history = LagHistory()
    for number in range(400):
        history.add(replace(overview, at_us=overview.at_us + number * 500_000, lag_trades=number * 10_000 or None))
    canvas = Console(width=width, file=io.StringIO(), force_terminal=color is not None, color_system=color)  # type: ignore[arg-type]
    with canvas.capture() as captured:
        canvas.print(watch_screen(overview, history, width, height))
    return captured.get().rstrip("\n").split("\n")


def test_where_no_consumer_reports_what_is_stored_none_is_not_said() -> None:
    screen = "\n".join(lines(Overview.of([], at_us=1_700_000_000_000_000), 80, 24))
    assert "k2ctl lake status" in screen
    assert "of 0 trades" not in screen
    assert "stored  " not in screen


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (160, 50), (200, 60)])
def test_the_screen_has_one_height_whatever_happens_and_never_wraps(width: int, height: int) -> None:
    heights = set()
    for level in range(5):
        screen = lines(made(level), width, height)
        heights.add(len(screen))
        assert max(map(len, screen)) <= width
    heights.add(len(lines(Overview.of([], at_us=1_700_000_000_000_000), width, height)))
    assert len(heights) == 1
    assert heights.pop() <= height


@pytest.mark.parametrize("level", range(5))
def test_the_level_its_reason_and_its_thresholds_are_readable_without_colour(level: int) -> None:
    screen = "\n".join(lines(made(level), 80, 24))
    assert f"▶ {level} {LEVELS[level].name}" in screen
    assert "C● H▪ N▪ L○" in screen
    if level:
        assert "12,345,678 ≥ 5,000,000" in screen
    assert "\x1b" not in screen
    assert "\x1b" in "\n".join(lines(made(level), 80, 24, "truecolor"))


def test_what_a_feed_leaves_out_is_counted_beside_the_trades_and_is_none_of_them() -> None:
    filtered = replace(made(0), filtered=31_000)
    assert "31k filtered" in "\n".join(lines(filtered, 80, 24))
    assert "filtered 31,000" in watch_line(filtered)
    assert "filtered" not in watch_line(made(0))


def test_without_a_consumer_the_screen_says_what_to_type() -> None:
    assert "k2ctl consume" in "\n".join(lines(Overview.of([], at_us=1), 80, 24))


def test_a_line_holds_the_terms_of_the_identity() -> None:
    line = watch_line(made(4))
    for part in ("CIRCUIT_BREAK", "1,234,567", "stored 987,654,321", "deferred 0", "intake closed"):
        assert part in line


def test_a_chart_rises_with_its_values_and_shows_what_is_unknown_as_a_gap() -> None:
    rows = [
        row.plain[:10] for row in log_chart([None, None, 10, 10, 1000, 1000], [Threshold(100, "x", "red")], 18, 4, "")
    ]
    columns = ["".join(column).replace("╌", " ").strip() for column in zip(*rows, strict=True)]
    assert [len(column) for column in columns[-3:]] == [0, 1, 4]
    assert "╌" in "".join(rows)


def test_a_recording_is_read_back_and_a_broken_one_names_the_line(tmp_path: Path) -> None:
    import orjson

    file = tmp_path / "run.jsonl"
    ticks = [made(1), replace(made(2), at_us=1_700_000_002_500_000)]
    file.write_bytes(b"\n".join(orjson.dumps(tick) for tick in ticks))
    assert read_recording(file) == ticks
    waits: list[float] = []
    assert list(paced(ticks, waits.append)) == ticks
    assert waits == [0.0, 2.5]
    file.write_bytes(orjson.dumps(ticks[0]) + b"\n{half")
    with pytest.raises(UsageError, match=r"run\.jsonl:2"):
        read_recording(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_recording(tmp_path / "none")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_a_reduced_guarantee_of_the_state_store_is_seen_and_changes_no_height(width: int, height: int) -> None:
    why = "Redis at 127.0.0.1:6379/0 does not answer in time."
    state = StateSyncStatus("redis", "REDUCED", why)
    reduced = replace(made(2), state=state, consumers=[a_status(state=state)])
    screen = lines(reduced, width, height)
    assert "state REDUCED" in "\n".join(screen)
    assert len(screen) == len(lines(made(2), width, height))
    assert max(map(len, screen)) <= width
    assert f"state REDUCED ({why})" in watch_line(reduced)


def test_before_the_first_commit_it_says_so() -> None:
    screen = "\n".join(lines(replace(made(0), snapshot_age_s=None), 80, 24))
    assert "commit none yet" in screen
    assert "Kafka deletes unread in 30.0 s" in screen
    assert "commit 12.0 s ago" in "\n".join(lines(replace(made(0), snapshot_age_s=12.0), 80, 24))


def test_an_intake_that_is_open_again_is_not_shown_as_closed() -> None:
    assert "intake closed" in "\n".join(lines(made(4), 80, 24))
    assert "intake open again" in "\n".join(lines(replace(made(4), intake="open"), 80, 24))


def test_a_background_task_that_fails_is_seen_beside_its_consumer() -> None:
    status = a_status(maintenance_error="OSError: no space left", dedup_save_error="the folder is read-only")
    screen = "\n".join(lines(replace(made(0), consumers=[status]), 160, 50))
    assert "maintenance fails: OSError: no space left" in screen
    assert "dedup state is not saved: the folder is read-only" in screen


def test_chunks_that_err_beyond_their_plan_and_claims_are_seen() -> None:
    erring = DedupStatus(ids_tested=60_000, hits_confirmed=10_000, hits_false=150, planned_error_rate=0.001)
    few = replace(erring, ids_tested=20_000)
    waiting = DedupStatus(tier=TierStatus(waiting=12_000, guarantee="REDUCED", why="Redis is away"))
    consumers = [a_status(name, dedup=dedup) for name, dedup in (("a", erring), ("b", few), ("c", waiting))]
    screen = "\n".join(lines(replace(made(0), consumers=consumers, dedup=waiting), 160, 50))
    assert screen.count("Bloom chunks err: 0.30%, planned 0.10%") == 1
    assert screen.count("dedup REDUCED: Redis is away") == 1
    assert screen.count("12k waiting") == 1


def test_the_committer_is_seen_and_so_is_that_there_is_none() -> None:
    committer = a_status("one", group_commit=GroupCommitStatus(is_committer=True))
    alone = a_status("two", group_commit=GroupCommitStatus(announcement_age_s=12.0))
    screen = "\n".join(lines(replace(made(0), consumers=[committer, alone]), 160, 50))
    assert screen.count("commits for all") == 1
    assert screen.count("no committer has answered for 12.0 s") == 1


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_copies_that_may_be_stored_are_said_with_the_reason(width: int, height: int) -> None:
    tier = TierStatus(guarantee="REDUCED", why="Redis does not answer", waiting=3, waits_for="one")
    overview = Overview.of([a_status("c", dedup=DedupStatus(tier=tier))])
    screen = "\n".join(lines(overview, width, height))
    assert "dedup REDUCED" in screen
    assert max(map(len, screen.split("\n"))) <= width
    assert watch_line(overview).endswith("dedup REDUCED (Redis does not answer)")
    if width == 160:
        assert "dedup REDUCED: Redis does not answer" in screen
        assert "3 trades wait for one" in screen

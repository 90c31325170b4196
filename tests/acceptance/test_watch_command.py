"""`k2ctl watch` and `k2ctl backfill` as a user types them."""

import json
from pathlib import Path

import orjson

from tests.support.cli import run, stack_is_down
from tests.support.overviews import made


def test_a_recorded_run_is_watched_again_without_a_stack_and_exported_as_a_picture(tmp_path: Path) -> None:
    recorded, picture = tmp_path / "run.jsonl", tmp_path / "screen.svg"
    recorded.write_bytes(b"\n".join(orjson.dumps(made(level)) for level in range(5)))
    shown = run("watch", "--replay", str(recorded), "--once", "--export", str(picture))
    assert shown.returncode == 0
    assert "▶ 4 CIRCUIT_BREAK" in shown.stdout
    assert "CIRCUIT_BREAK" in picture.read_text()
    ticks = [json.loads(line) for line in run("watch", "--replay", str(recorded), "--json").stdout.splitlines()]
    assert [tick["level_number"] for tick in ticks] == list(range(5))
    named = {"level", "lag_trades", "lag_seconds", "seen", "stored", "shed", "spilled", "lost", "pending"}
    assert named <= set(ticks[0])


def test_what_cannot_be_replayed_or_exported_is_reported(tmp_path: Path) -> None:
    missing = run("watch", "--replay", str(tmp_path / "none"))
    assert missing.returncode == 2
    assert "--record" in missing.stderr
    odd = run("watch", "--replay", str(tmp_path / "none"), "--export", "screen.jpeg")
    assert odd.returncode == 2
    assert ".svg" in odd.stderr


def test_backfill_with_nothing_outstanding_says_so() -> None:
    assert run("stack", "up").returncode == 0
    try:
        early = run("backfill", "--dry-run")
        assert early.returncode == 1
        assert "k2ctl consume" in early.stderr
        assert run("consume", "--until-caught-up").returncode == 0
        assert "Nothing is outstanding" in run("backfill", "--dry-run").stdout
        assert json.loads(run("backfill", "--dry-run", "--json").stdout) == []
        done = json.loads(run("backfill", "--json").stdout.splitlines()[-1])
        assert (done["backfilled"], done["outstanding"]) == (0, 0)
    finally:
        stack_is_down()

"""`k2ctl lake` as people and scripts use it."""

import json
from pathlib import Path

import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades
from tests.support.cli import called

HOUR = "2023-11-14T22"


@pytest.fixture
def endpoints(home: Path) -> Endpoints:
    """A stack's endpoints, of which `lake` needs the catalog and the warehouse alone."""
    (home / "lake").mkdir()
    made = Endpoints(
        "embedded", "127.0.0.1:1", f"sqlite:///{home}/lake/catalog.db", f"file://{home}/lake/warehouse", epoch="e"
    )
    save_endpoints(made)
    return made


def append(endpoints: Endpoints, commits: int, counts: Counts) -> None:
    """`commits` commits of 100 trades each, which claim to be `counts`."""
    with Lake.at(endpoints) as lake:
        writer = TableWriter(lake, SystemClock())
        for start in range(0, commits * 100, 100):
            rows = make_rows(make_trades(100, start), start)
            writer.commit([rows], {TopicPartition("t", "e", 0): OffsetDelta(start, start + 100, counts)})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return called(capsys, "lake", *arguments)


def test_status_counts_and_balances(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    append(endpoints, 3, Counts(seen=105, stored=100, duplicate=5))
    code, out, _ = run(capsys, "status", "--json")
    status = json.loads(out)
    assert code == ExitCode.OK
    assert (status["rows"], status["files"], status["snapshots"], status["orphan_files"]) == (300, 3, 3, 0)
    assert [(hour["hour"], hour["files"]) for hour in status["hours"]] == [(HOUR, 3)]
    (found,) = status["partitions"]
    at = [found[name] for name in ("topic", "partition", "next_offset", "balanced")]
    assert at == ["t", 0, 300, True]
    assert (found["counts"]["seen"], found["counts"]["duplicate"]) == (315, 15)
    assert status["balanced"]
    code, out, _ = run(capsys, "status")
    assert "300 rows in 3 files" in out
    assert "The counts balance" in out


@pytest.mark.parametrize("counts", [Counts(seen=101, stored=100), Counts(seen=99, stored=99)])
def test_status_says_when_the_counts_do_not_balance(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], counts: Counts
) -> None:
    append(endpoints, 1, counts)
    assert json.loads(run(capsys, "status", "--json")[1])["balanced"] is False
    assert "The counts do not balance" in run(capsys, "status")[1]


def test_status_fits_eighty_columns(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(endpoints, 2, Counts(seen=100, stored=100))
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run(capsys, "status")[1].splitlines())) <= 80


def test_compact_leaves_few_files_alone_unless_forced(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    append(endpoints, 4, Counts(seen=100, stored=100))
    code, out, err = run(capsys, "compact")
    assert code == ExitCode.OK
    assert out == ""
    assert "--all" in err
    assert json.loads(run(capsys, "compact", "--hour", "2023-11-14T21", "--json")[1]) == []
    (done,) = json.loads(run(capsys, "compact", "--hour", HOUR, "--json")[1])
    assert (done["hour"], done["files_before"], done["files_after"], done["rows"]) == (HOUR, 4, 1, 400)
    assert json.loads(run(capsys, "compact", "--all", "--json")[1]) == []


def test_many_files_of_an_hour_are_compacted_unasked(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    append(endpoints, 20, Counts(seen=100, stored=100))
    code, out, _ = run(capsys, "compact")
    assert code == ExitCode.OK
    assert HOUR in out
    assert json.loads(run(capsys, "status", "--json")[1])["files"] == 1


def test_expire_only_says_what_would_go(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    append(endpoints, 2, Counts(seen=100, stored=100))
    stray = Path(endpoints.warehouse.removeprefix("file://")) / "market_data/trades/data/stray.parquet"
    stray.write_bytes(b"stray")
    young = json.loads(run(capsys, "expire", "--json")[1])
    assert young["orphans_removed"] == {"files": 0, "bytes": 0, "young": 1, "dry_run": False}
    planned = json.loads(run(capsys, "expire", "--older-than", "0", "--dry-run", "--json")[1])
    assert planned["orphans_removed"]["files"] == 1
    assert stray.exists()
    code, out, _ = run(capsys, "expire", "--older-than", "0")
    assert code == ExitCode.OK
    assert not stray.exists()
    assert "1 unreachable files deleted" in out


def test_without_a_table_the_next_step_is_to_consume(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "compact", "expire"):
        code, out, err = run(capsys, command)
        assert code == ExitCode.FAILED
        assert out == ""
        assert "k2ctl consume" in err


def test_without_a_stack_the_next_step_is_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "status")
    assert code == ExitCode.UNHEALTHY
    assert "k2ctl stack up" in err


@pytest.mark.parametrize("arguments", [["compact", "--hour", "noon"], ["compact", "--hour", HOUR, "--all"], []])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *arguments)[0] == ExitCode.USAGE

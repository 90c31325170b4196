"""`k2ctl bench`: its options, and what it says to type for the same run again."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from k2ctl.checks.bench import benchmarks
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.results import read
from k2ctl.checks.bench.suite import FULL, NORMAL, QUICK, Bench, Sizes
from k2ctl.cli import main
from k2ctl.commands.bench import BENCHMARKS

Run = tuple[list[str], Sizes]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that were asked for; nothing is measured."""
    asked: list[Run] = []

    def run(names: Sequence[str], bench: Bench) -> list[Figure]:
        asked.append((list(names), bench.sizes))
        return [Figure(names[0], "case", "metric", 1.0, "trades/s", goal=1.0)]

    monkeypatch.setattr(benchmarks, "run", run)
    return asked


def test_every_benchmark_can_be_run() -> None:
    assert list(benchmarks.BY_NAME) == list(BENCHMARKS)


@pytest.mark.parametrize(
    ("arguments", "names", "sizes"),
    [
        ("all", list(BENCHMARKS), NORMAL),
        ("all --quick", list(BENCHMARKS), QUICK),
        ("all --full --repeat 2", list(BENCHMARKS), Sizes(**{**vars(FULL), "repeat": 2})),
        ("naive load --trades 100k --engine local", ["load", "naive"], Sizes(naive=100_000)),
        ("dedup --entries 10M", ["dedup"], Sizes(dedup=10_000_000)),
        ("dedup --scope topic", ["dedup"], Sizes(dedup_scope="topic")),
        ("query", ["query"], Sizes(query_rows=20_000_000)),
        (
            "query --rows 2M --rate 10k --frame 10 --queries 50",
            ["query"],
            Sizes(query_rows=2_000_000, query_rate=10_000, query_frame=10, queries=50),
        ),
    ],
)
def test_what_was_said_is_run_and_can_be_typed_again(
    runs: list[Run], capsys: pytest.CaptureFixture[str], arguments: str, names: list[str], sizes: Sizes
) -> None:
    assert main(["bench", *arguments.split(), "--json"]) == 0
    assert runs.pop() == (names, sizes)
    kept, _, again = capsys.readouterr().err.partition("Kept in ")[2].partition("; later: k2ctl ")
    assert main(shlex.split(again)) == 0
    assert runs.pop() == (names, sizes)
    assert again.startswith("bench " + read(Path(kept)).asked)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("nothing", "There are: load, consume"),
        ("commits --engine local", "--engine is not for commits"),
        ("commits sequence --entries 1M", "--entries is not for commits and sequence"),
        ("dedup --entries 0", "at least 1"),
        ("dedup --scope all", "no scope 'all'"),
        ("query --scope topic", "--scope is not for query"),
        ("all --quick --full", "exclude each other"),
        ("load --json --markdown", "exclude each other"),
    ],
)
def test_what_means_nothing_is_refused(
    runs: list[Run], capsys: pytest.CaptureFixture[str], arguments: str, word: str
) -> None:
    assert main(["bench", *arguments.split()]) == 2
    assert word in capsys.readouterr().err
    assert not runs

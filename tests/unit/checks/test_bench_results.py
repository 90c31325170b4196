"""Benchmarks kept, compared and printed."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.checks.bench.figures import BASELINE, Figure, against, measured, repeated
from k2ctl.checks.bench.results import Machine, Results, compare, read, regressions, save, this_machine
from k2ctl.errors import ExitCode, UsageError
from k2ctl.views.checks import FIGURE_COLUMNS, figures_markdown, machine_line

ROOT = Path(__file__).parent.parent.parent.parent
README = (ROOT / "k2ctl" / "checks" / "README.md").read_text()
MACHINE = Machine("2026-11-24T14:00:00+00:00", "Xeon", 2, 24_000_000_000, "Linux 6", "3.11.2", {}, 0.1, "0.1.0", "abc")


def results(*figures: Figure, machine: Machine = MACHINE) -> Results:
    return Results(machine, "all", 61.0, list(figures))


def rate(*values: float) -> Figure:
    return measured("load", "frame 1", "produce, absolute", values, "trades/s", 400_000)


def test_a_figure_is_the_median_and_its_spread_the_range() -> None:
    figure = against("load", "frame 1", "produce", [90.0, 100.0, 120.0], "trades/s", [200.0, 210.0, 190.0], 0.8)
    assert (figure.value, figure.baseline) == (100.0, 200.0)
    assert not figure.met
    assert figure.ratio == 100.0 / 210.0, "the median of the repetitions' own: a noisy moment hits both alike"
    assert figure.spread == pytest.approx(0.3)
    assert rate(100.0).spread is None


def test_warm_ups_run_and_do_not_count() -> None:
    seen: list[str] = []
    values = iter(range(10))
    assert repeated(lambda: [next(values), 7], 2, 1, seen.append) == [[1, 2], [7, 7]]
    assert seen == ["warm-up 1 of 1", "run 1 of 2", "run 2 of 2"]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((100.0, 100.0), (97.0, 97.0), "same"),  # less than the smallest band
        ((100.0, 100.0), (90.0, 90.0), "worse"),
        ((100.0, 100.0), (110.0, 110.0), "better"),
        ((90.0, 110.0), (86.0, 94.0), "same"),  # 10 % worse, and the runs spread by 20 % and 9 %
        ((90.0, 110.0), (70.0, 76.0), "worse"),
    ],
)
def test_a_change_counts_only_beyond_the_spreads_of_both_runs(
    before: tuple[float, ...], after: tuple[float, ...], verdict: str
) -> None:
    found = compare(results(rate(*before)), results(rate(*after)))
    assert [pair.verdict for pair in found] == [verdict]
    error = regressions(found)
    assert (error is not None and error.exit_code is ExitCode.UNHEALTHY) == (verdict == "worse")


def test_what_should_be_low_is_worse_when_it_is_higher() -> None:
    slow, quick = (Figure("query", "c", "server, p99", ms, "ms", goal=500.0, at_most=True) for ms in (200.0, 100.0))
    assert compare(results(quick), results(slow))[0].verdict == "worse"
    assert compare(results(slow), results(quick))[0].verdict == "better"


def test_what_was_measured_once_has_the_noise_of_its_run() -> None:
    once = Figure("query", "c", "server, p99", 100.0, "ms")
    found = compare(results(once, rate(80.0, 120.0)), results(replace(once, value=130.0), rate(80.0, 120.0)))
    assert (found[0].band, found[0].verdict) == (pytest.approx(0.4), "same")


def test_baselines_and_explanations_are_not_compared() -> None:
    for figure in (
        measured("consume", "c", f"{BASELINE}write", [1.0, 2.0], "trades/s"),
        Figure("d", "c", "m", 1, "bits"),
    ):
        assert compare(results(figure), results(replace(figure, value=0.1))) == []


def test_on_another_machine_only_ratios_are_compared() -> None:
    ratio = against("load", "frame 1", "produce", [90.0, 110.0], "trades/s", [100.0, 100.0], 0.8)
    found = compare(results(ratio, rate(1.0), machine=replace(MACHINE, cores=64)), results(ratio, rate(1.0)))
    assert [pair.after.metric for pair in found] == ["produce"]


def test_results_are_read_as_they_were_written(home: Path, tmp_path: Path) -> None:
    kept = results(rate(1.0, 2.0), machine=this_machine())
    first, second = save(kept), save(kept)
    assert first.parent == home / "results"
    assert first != second
    assert read(first) == kept
    (tmp_path / "other.json").write_text("{}")
    for path in (tmp_path / "other.json", tmp_path / "missing.json"):
        with pytest.raises(UsageError, match="holds no results"):
            read(path)


def test_the_machine_is_named_and_says_when_it_is_busy() -> None:
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert re.match(r"\d+\.\d+", machine.libraries["pyarrow"])
    assert replace(machine, load_average=machine.cores).busy
    assert not replace(machine, load_average=0.0).busy


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_commit_of_the_checkout_is_noted() -> None:
    revision = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commit = this_machine().commit
    assert commit is not None
    assert revision.stdout.startswith(commit.removesuffix("+"))


def test_the_table_in_the_readme_has_the_shape_of_the_renderer() -> None:
    block = README.partition("<!-- bench:begin -->\n")[2].partition("\n<!-- bench:end -->")[0]
    made = figures_markdown(results(replace(rate(1.0, 2.0), goal=0.5))).splitlines()
    facts, blank, *table = block.splitlines()
    assert facts.startswith("`k2ctl bench ")
    assert blank == ""
    words = re.compile(r"cores|Linux|Python|k2ctl|load at the start")
    assert words.findall(facts) == words.findall(machine_line(results()))
    assert table[:2] == made[2:4]
    assert all(row.count(" | ") == len(FIGURE_COLUMNS) - 1 for row in table[2:])
    assert {row.split()[1].rstrip(",") for row in table[2:]} >= {"load", "consume", "naive", "dedup", "query"}

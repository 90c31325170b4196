"""Verdicts, the sum of a run and its exit, with steps made up for the test; and the screen."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from k2ctl.checks.validate.figures import TESTS, measure_tests
from k2ctl.checks.validate.pressure import best_second
from k2ctl.checks.validate.targets import Absent, Ground, Results, Step, Target, TargetVerdict
from k2ctl.checks.validate.validation import STEPS, Validation, chosen, failed, validate
from k2ctl.errors import BrokerError, ExitCode, UsageError
from k2ctl.load.workers import LoadSnapshot
from k2ctl.profiles import load_profile
from k2ctl.views.checks import step_line, validate_panel, verdict_line

GROUND = Ground(load_profile("laptop"), "embedded", full=False, say=lambda _: None)


def made_step(name: str, measure: Callable[[Sequence[Target]], Results]) -> Step:
    targets = [Target(name, f"{name} {number}", "≥ 1", f"k2ctl {name}") for number in (1, 2)]
    return Step(name, f"measuring {name}", lambda _: targets, lambda _, wanted: measure(wanted))


def passing(wanted: Sequence[Target]) -> Results:
    yield from (target.judged(True, "2") for target in wanted)


def falling_short(wanted: Sequence[Target]) -> Results:
    yield wanted[0].judged(True, "2")
    yield wanted[1].judged(False, "0.5")


def breaking(wanted: Sequence[Target]) -> Results:
    yield wanted[0].judged(True, "2")
    raise BrokerError("Kafka went away.\nwith details")


def lacking(wanted: Sequence[Target]) -> Results:
    raise Absent("there is no Docker")
    yield


def interrupted(wanted: Sequence[Target]) -> Results:
    yield wanted[0].judged(True, "2")
    raise KeyboardInterrupt


def forgetting(wanted: Sequence[Target]) -> Results:
    yield wanted[0].judged(True, "2")


def verdicts(found: Validation) -> list[str]:
    return [str(result.verdict) for result in found.results]


def run(**measures: Callable[[Sequence[Target]], Results]) -> Validation:
    return validate([made_step(name, measure) for name, measure in measures.items()], GROUND)


def test_a_run_in_which_everything_passes_is_no_error() -> None:
    found = run(one=passing, two=passing)
    assert verdicts(found) == ["pass"] * 4
    assert found.held
    assert failed(found) is None


def test_one_target_that_falls_short_ends_in_exit_code_3_and_names_its_step() -> None:
    found = run(one=passing, two=falling_short)
    assert verdicts(found) == ["pass", "pass", "pass", "short"]
    error = failed(found)
    assert error is not None
    assert error.exit_code is ExitCode.UNHEALTHY
    assert str(error) == "1 target fell short."
    assert error.hint.endswith("k2ctl validate --only two")


def test_a_step_that_raises_is_short_with_the_first_line_and_the_others_go_on() -> None:
    found = run(one=breaking, two=passing)
    assert verdicts(found) == ["pass", "short", "pass", "pass"]
    assert found.results[1].measured == "ended with an error: Kafka went away."


def test_a_part_that_is_absent_is_not_measured_with_the_reason_and_no_error() -> None:
    found = run(one=lacking, two=passing)
    assert verdicts(found) == ["not measured", "not measured", "pass", "pass"]
    assert found.results[0].measured == "not measured, because there is no Docker"
    assert failed(found) is None


def test_a_run_that_measured_nothing_is_not_a_pass() -> None:
    error = failed(run(one=lacking))
    assert error is not None
    assert str(error) == "Nothing was measured."


def test_a_target_that_its_step_forgot_is_short() -> None:
    assert verdicts(run(one=forgetting)) == ["pass", "short"]


def test_an_interrupted_run_keeps_what_was_measured_and_leaves_the_rest_open() -> None:
    found = run(one=interrupted, two=passing)
    assert found.interrupted
    assert verdicts(found) == ["pass", "not measured", "not measured", "not measured"]
    assert found.results[3].measured == "not measured, because it was interrupted"


def test_an_engine_whose_parts_are_missing_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", "/nowhere")
    ground = Ground(GROUND.profile, "local", full=False, say=lambda _: None)
    found = validate(chosen(["kill"]), ground)
    assert verdicts(found) == ["not measured"]
    assert "the local engine is not here" in found.results[0].measured


def test_unknown_steps_and_engines_are_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no step 'bloom'") as error:
        chosen(["bloom"])
    assert all(step.name in error.value.hint for step in STEPS)
    with pytest.raises(UsageError, match="'external' cannot"):
        validate([], Ground(GROUND.profile, "external", full=False, say=lambda _: None))


def test_chosen_steps_come_in_their_own_order_each_once() -> None:
    assert [step.name for step in chosen(["tests", "load", "tests"])] == ["load", "tests"]
    assert chosen([]) == STEPS


@pytest.mark.parametrize("full", [False, True])
def test_every_target_has_a_name_of_its_own_a_goal_and_a_command(full: bool) -> None:
    ground = Ground(GROUND.profile, "embedded", full=full, say=lambda _: None)
    targets = [target for step in STEPS for target in step.targets(ground)]
    assert len({target.name for target in targets}) == len(targets) >= 16
    assert all(target.goal and target.command for target in targets)
    assert all(target.step == step.name for step in STEPS for target in step.targets(ground))


def test_the_best_second_is_the_best_stretch_of_a_second_and_not_a_burst() -> None:
    at = [(0.0, 0), (0.5, 100), (1.0, 200), (1.1, 900), (2.0, 1_200), (3.0, 1_300)]
    snapshots = [LoadSnapshot(elapsed_s, 3.0, 0.0, 0.0, sent, 1_300, 0, 0.0, "") for elapsed_s, sent in at]
    assert best_second(snapshots) == pytest.approx(1_000.0)
    assert [best_second(snapshots[:number]) for number in range(3)] == [0.0, 0.0, 0.0]


def test_tests_that_are_not_beside_the_package_are_not_measured_and_a_missing_kind_is_short(tmp_path: Path) -> None:
    wanted = TESTS.targets(GROUND)
    with pytest.raises(Absent, match="installed"):
        next(measure_tests(GROUND, wanted, tmp_path / "k2ctl"))
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").touch()
    (tmp_path / "tests" / "unit" / "test_one.py").write_text("def test_a() -> None: ...\ndef helper() -> None: ...\n")
    (result,) = measure_tests(GROUND, wanted, tmp_path / "k2ctl")
    assert result.verdict is TargetVerdict.SHORT
    assert result.measured.startswith("1: 1 unit, 0 contract")


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_fits_and_has_target_goal_figure_verdict_and_command(width: int) -> None:
    found = run(one=breaking, two=lacking)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(validate_panel(found, width))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in ("one 1", "≥ 1", "Kafka went away", "✗", "not measured, because there is no Docker", "k2ctl two"):
        assert words in text
    assert "1 of 4 targets pass, 1 short, 2 not measured; embedded, quick" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_steps_line_has_the_sign_of_its_worst_target() -> None:
    step = made_step("one", falling_short)
    line = step_line(step, validate([step], GROUND).results, 31.0)
    assert line.plain.split() == ["✗", "one", "1", "of", "2", "31.0", "s", "measuring", "one"]


def test_a_machine_that_was_busy_before_is_said_to_have_been() -> None:
    quiet, busy = Validation("embedded", False, cpus=2, others_load=0.4), Validation("embedded", False, cpus=2)
    busy.others_load = 9.3
    assert "busy" not in verdict_line(quiet).plain
    assert verdict_line(busy).plain.endswith("the machine was busy when it began: load average 9.3 on 2 cores")

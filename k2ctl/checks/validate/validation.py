"""`k2ctl validate`: every target of the platform, measured now. What falls short is said with its figure."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from k2ctl.checks.validate import figures, pressure
from k2ctl.checks.validate.targets import Absent, Ground, Result, Results, Step, Target, TargetVerdict
from k2ctl.errors import CheckFailed, StackError, UsageError
from k2ctl.stack.lifecycle import OWN_STACKS

STEPS: Final = (
    pressure.LOAD,
    pressure.LADDER,
    pressure.KILLS,
    figures.SEQUENCE,
    figures.DEDUP,
    figures.QUERY,
    figures.COST,
    figures.DEMO,
    figures.TESTS,
)
"""In the order in which they are measured."""

Done = Callable[[Step, Sequence[Result], float], None]
"""Hears of a step that has ended: its results, and the seconds that it took."""


@dataclass
class Validation:
    """One run. results: one for each target of the chosen steps, in their order; seconds: of the whole run.

    others_load: the load average of the last minute when it began, from everything else on so many `cpus`.
    """

    engine: str
    full: bool
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    cpus: int = 1
    others_load: float = 0.0

    def count(self, verdict: TargetVerdict) -> int:
        """How many targets ended so."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def held(self) -> bool:
        """Nothing fell short, and something was measured."""
        return not self.count(TargetVerdict.SHORT) and self.count(TargetVerdict.PASS) > 0


def chosen(names: Sequence[str], steps: Sequence[Step] = STEPS) -> tuple[Step, ...]:
    """The steps by name, in their own order; all of them without a name.

    Raises:
        UsageError: there is no such step.
    """
    known = [step.name for step in steps]
    for name in names:
        if name not in known:
            raise UsageError(
                f"There is no step '{name}'.", f"Steps: {', '.join(known)}. Try: k2ctl validate --only load"
            )
    return tuple(step for step in steps if not names or step.name in names)


def validate(steps: Sequence[Step], ground: Ground, done: Done = lambda *_: None) -> Validation:
    """Measure step by step. One that fails is short with its error, and the others go on; Ctrl-C keeps what is there.

    Raises:
        UsageError: there is no such engine.
    """
    if ground.engine not in OWN_STACKS:
        raise UsageError(
            f"'{ground.engine}' cannot be validated: it takes stacks of its own.", f"Engines: {', '.join(OWN_STACKS)}"
        )
    started_s = time.monotonic()
    found = Validation(ground.engine, ground.full, cpus=os.cpu_count() or 1, others_load=os.getloadavg()[0])
    try:
        for step in steps:
            ground.say(step.title)
            first, step_s = len(found.results), time.monotonic()
            with closing(_measured(step, ground)) as results:
                for result in results:
                    found.results.append(result)  # one by one: Ctrl-C keeps those that are there
            done(step, found.results[first:], time.monotonic() - step_s)
    except KeyboardInterrupt:
        found.interrupted = True
        known = {result.target for result in found.results}
        left = [target for step in steps for target in step.targets(ground) if target not in known]
        found.results += [target.not_measured("it was interrupted") for target in left]
    found.seconds = time.monotonic() - started_s
    return found


def _measured(step: Step, ground: Ground) -> Results:
    """A result for every target of the step, whatever happens in it."""
    targets = step.targets(ground)
    left: list[Target] = list(targets)
    try:
        if step.stack:
            _require(ground.engine)
        with closing(step.measure(ground, targets)) as results:
            for result in results:
                left.remove(result.target)
                yield result
    except Absent as absent:
        yield from [target.not_measured(str(absent)) for target in left]
    except Exception as error:
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        yield from [target.judged(False, f"ended with an error: {said}") for target in left]
    else:
        yield from [target.judged(False, "the step ended without a figure for it") for target in left]


def _require(engine: str) -> None:
    """Raises:
    Absent: the engine's own parts are not on this machine.
    """
    try:
        if engine == "local":
            from k2ctl.stack.kafka_jars import kafka_libraries

            kafka_libraries(lambda _: None)
        elif engine == "docker":
            from k2ctl.stack.docker.client import docker_client

            with docker_client() as client:
                client.ping()
    except StackError as error:
        raise Absent(f"the {engine} engine is not here: {error}") from error


def failed(found: Validation) -> CheckFailed | None:
    """The error that a run ends in, if it does."""
    if found.held:
        return None
    short = [result.target for result in found.results if result.verdict is TargetVerdict.SHORT]
    if not short:
        return CheckFailed("Nothing was measured.", "The reasons are above. Try: k2ctl validate --engine embedded")
    steps = " ".join(f"--only {name}" for name in dict.fromkeys(target.step for target in short))
    plural = "targets" if len(short) > 1 else "target"
    return CheckFailed(
        f"{len(short)} {plural} fell short.", f"Measure again on a quiet machine: k2ctl validate {steps}"
    )

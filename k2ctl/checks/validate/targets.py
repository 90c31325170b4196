"""What `k2ctl validate` holds the platform to, and what became of it: targets, verdicts, steps."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from k2ctl.demo.result import ActResult, Audience
from k2ctl.profiles import Profile


class TargetVerdict(StrEnum):
    """What became of a target; the words that people and scripts see."""

    PASS = "pass"  # noqa: S105
    SHORT = "short"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """One promise of the platform. goal: in words and units; command: what measures it alone."""

    step: str
    name: str
    goal: str
    command: str

    def judged(self, held: bool, measured: str) -> "Result":
        """The target with its verdict and what was measured."""
        return Result(self, TargetVerdict.PASS if held else TargetVerdict.SHORT, measured)

    def not_measured(self, because: str) -> "Result":
        """The target, left open for a reason."""
        return Result(self, TargetVerdict.NOT_MEASURED, f"not measured, because {because}")


@dataclass(frozen=True)
class Result:
    """A target and its verdict. measured: the figures with their units, or why there are none."""

    target: Target
    verdict: TargetVerdict
    measured: str


Results = Generator[Result, None, None]


class Absent(Exception):
    """A part of the platform is not there, so that nothing can be said of it; the text says which, and why."""


@dataclass(frozen=True)
class Ground:
    """Where and how thoroughly it is measured. full: the real sizes, for minutes; else small ones. say: progress."""

    profile: Profile
    engine: str
    full: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """Targets that are measured together, on a stack of their own that is gone afterwards.

    measure: yields each target's result as soon as it is there. stack: whether the ground's engine is started for it.
    """

    name: str
    title: str
    targets: Callable[[Ground], Sequence[Target]]
    measure: Callable[[Ground, Sequence[Target]], Results]
    stack: bool = False


class Listener(Audience):
    """An audience that passes on which act begins, and each step. before: what each line begins with."""

    def __init__(self, say: Callable[[str], None], before: str = "") -> None:
        self._say = say
        self._before = before

    def begins(self, act: ActResult) -> None:
        self._say(f"{self._before}{act.billing.title}")

    def step(self, text: str) -> None:
        self._say(f"{self._before}{text}")

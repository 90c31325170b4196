"""The platform as a whole: what three scales cost, the demo in its time, and the tests that come with it."""

import ast
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import k2ctl
from k2ctl.checks.validate.targets import Absent, Ground, Results, Step, Target
from k2ctl.checks.verify.proof import prove
from k2ctl.cost.price_book import load_book
from k2ctl.cost.pricing import Pricing
from k2ctl.demo.pacing import Pacing
from k2ctl.demo.result import ActResult, Audience
from k2ctl.demo.scale import SCALES
from k2ctl.demo.story import chosen, perform

COST_AT_MOST_S: Final = 2.0
KINDS: Final = ("unit", "contract", "integration", "acceptance")


def cost_targets(_: Ground) -> list[Target]:
    """One."""
    goal = f"all feasible, within {COST_AT_MOST_S:.0f} s"
    return [Target("cost", "monthly cost of three scales", goal, f"k2ctl cost --compare {','.join(SCALES)}")]


def measure_cost(_: Ground, wanted: Sequence[Target]) -> Results:
    """Sized and priced from the shipped profiles and prices."""
    started_s = time.monotonic()
    pricing = Pricing(load_book(), ())
    found = [(name, pricing.subject(name, None)) for name in SCALES]
    seconds = time.monotonic() - started_s
    held = seconds <= COST_AT_MOST_S and not any(estimate.infeasible for _, estimate in found)
    usd = ", ".join(f"{name} {estimate.total_monthly_usd:,.0f}" for name, estimate in found)
    yield wanted[0].judged(held, f"{usd} USD; {seconds:.1f} s")


def demo_targets(ground: Ground) -> list[Target]:
    """One."""
    name, command = ("the whole demo", "k2ctl demo") if ground.full else ("the quick demo", "k2ctl demo --quick")
    return [Target("demo", name, f"every check holds, < {_demo_at_most_s(ground):.0f} s", command)]


def _demo_at_most_s(ground: Ground) -> float:
    return 600.0 if ground.full else 90.0


def measure_demo(ground: Ground, wanted: Sequence[Target]) -> Results:
    """All four acts and the reconciliation."""
    reported = perform(ground.profile, ground.engine, chosen(()), Pacing(quick=not ground.full), _Reader(ground), prove)
    good = sum(check.held for check in reported.checks)
    red = "".join(f"; not: {check.claim} ({check.measured})" for check in reported.checks if not check.held)
    held = reported.held and reported.seconds < _demo_at_most_s(ground)
    yield wanted[0].judged(held, f"{good} of {len(reported.checks)} checks, {reported.seconds:.0f} s{red}")


class _Reader(Audience):
    """Passes on which act is played."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def begins(self, act: ActResult) -> None:
        self._ground.say(f"demo: {act.billing.title}")

    def step(self, text: str) -> None:
        self._ground.say(f"demo: {text}")


def tests_targets(_: Ground) -> list[Target]:
    """One."""
    return [Target("tests", "tests present", f"some of each kind: {', '.join(KINDS)}", "pytest -q")]


def measure_tests(_: Ground, wanted: Sequence[Target], package: Path | None = None) -> Results:
    """Test functions, counted in the files; they are not run.

    package: the folder of k2ctl, beside which a checkout has its tests.
    """
    folder = (package or Path(k2ctl.__file__).parent).parent / "tests"
    if not (folder / "conftest.py").is_file():
        raise Absent("this is an installed k2ctl: the tests are in the source")
    counted = Counter({kind: sum(map(_test_functions, (folder / kind).rglob("test_*.py"))) for kind in KINDS})
    each = ", ".join(f"{counted[kind]:,} {kind}" for kind in KINDS)
    yield wanted[0].judged(all(counted[kind] for kind in KINDS), f"{counted.total():,}: {each}; not run here")


def _test_functions(path: Path) -> int:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sum(isinstance(node, kinds) and node.name.startswith("test_") for node in ast.walk(tree))


COST: Final = Step("cost", "what three scales cost", cost_targets, measure_cost)
DEMO: Final = Step("demo", "the demo in its time", demo_targets, measure_demo, stack=True)
TESTS: Final = Step("tests", "the tests that come with it", tests_targets, measure_tests)

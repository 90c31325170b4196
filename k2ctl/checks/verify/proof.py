"""`k2ctl verify` as one assertion, for who plays the platform on a stage of its own: the demo, and `k2ctl validate`."""

from collections.abc import Sequence

from k2ctl.checks.verify.verdict import FAULTS, Verified
from k2ctl.checks.verify.verification import verify
from k2ctl.demo.checks import DemoCheck
from k2ctl.endpoints import Endpoints


def prove(endpoints: Endpoints) -> DemoCheck:
    """Hold what the stack has to what loads wrote down.

    Raises:
        CheckFailed: no load was written down.
    """
    return proof_of(verify(endpoints, lambda _: None))


def proof_of(results: Sequence[Verified]) -> DemoCheck:
    """All topics together; every fault is named with its count of trades."""
    expected, in_lake, in_tail = (
        sum(getattr(found, name) for found in results) for name in ("expected", "in_lake", "in_tail")
    )
    faults = [(sum(found.faults[name] for found in results), name) for name in FAULTS]
    named = ", ".join(f"{count:,} {name}" for count, name in faults if count) or "nothing astray"
    return DemoCheck(
        "k2ctl verify: every acknowledged trade is there, once, as it was sent",
        bool(results) and all(found.holds for found in results),
        f"{expected:,} acknowledged, {in_lake:,} in the table, {in_tail:,} in Kafka; {named}",
    )

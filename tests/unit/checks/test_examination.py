"""What the doctor makes of what it found."""

import pytest

from k2ctl.checks.doctor import stack
from k2ctl.checks.doctor.stack import judge
from k2ctl.domain.checkpoint import Counts
from k2ctl.endpoints import Endpoints
from k2ctl.lake.maintenance.status import Balance
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.preflight import Check, Verdict
from k2ctl.views.checks import check_lines

KAFKA = Endpoints("docker", "127.0.0.1:9092", "sqlite://", "file:///nowhere")


def balance(**changed: object) -> Balance:
    values: dict[str, object] = {
        "rows": 10,
        "total": Counts(seen=12, stored=10, duplicate=2),
        "unbalanced": (),
        "outstanding": 0,
        "missing_spills": (),
        "forgotten_spills": (),
    }
    return Balance(**{**values, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "name", "verdict"),
    [
        (balance(), "balance", Verdict.OK),
        (balance(unbalanced=("trades partition 3",)), "balance", Verdict.WRONG),
        (balance(rows=9), "balance", Verdict.WRONG),
        (balance(outstanding=5), "deferred", Verdict.NOTE),
        (balance(total=Counts(seen=11, stored=10, lost=1)), "lost", Verdict.NOTE),
        (balance(ended=("kafka-1/topic-1",)), "earlier Kafka", Verdict.NOTE),
        (balance(missing_spills=("a.arrow",)), "spill files", Verdict.WRONG),
        (balance(forgotten_spills=("a.arrow",)), "spill files", Verdict.NOTE),
    ],
)
def test_what_the_lake_holds_is_judged(found: Balance, name: str, verdict: Verdict) -> None:
    judged = {check.name: check for check in judge(found)}
    assert judged[name].verdict is verdict
    assert verdict is Verdict.OK or judged[name].help


@pytest.mark.parametrize(
    ("ahead_s", "verdict"), [(0.2, Verdict.OK), (-4.0, Verdict.NOTE), (90.0, Verdict.WRONG), (None, Verdict.OK)]
)
def test_a_clock_that_is_off_is_reported(
    ahead_s: float | None, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "clock_ahead_s", lambda *_: ahead_s)
    monkeypatch.setattr(stack, "newest_record_ahead_s", lambda *_: None)
    (check,) = stack.clock(KAFKA)
    assert check.verdict is verdict


def test_consumers_in_containers_are_not_judged_twice() -> None:
    services = [ServiceStatus(name, "exited", "gone", "") for name in ("redis", "consumer", "consumer-2")]
    assert [check.name for check in stack.service_checks("docker", services)] == ["service redis"]


def test_an_up_that_was_not_finished_is_wrong() -> None:
    (check,) = stack.which_stack("docker", None, "")
    assert (check.verdict, check.help) == (Verdict.WRONG, "k2ctl stack up --engine docker")


def test_a_pipe_gets_a_line_for_each_check_and_one_for_what_helps() -> None:
    checks = [Check("disk", Verdict.OK, "9 GB free"), Check("memory", Verdict.WRONG, "none", "Give it more.")]
    lines = list(check_lines(checks))
    assert lines == ["✓ disk: 9 GB free", "✗ memory: none", "  → Give it more.", "1 thing is wrong."]

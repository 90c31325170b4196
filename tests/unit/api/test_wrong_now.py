"""What is wrong now, as the alerts' rules say it: each is judged when it should be, and else is quiet."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from k2ctl.api.alerts import NOT_READY, ONLY_PROMETHEUS, Alerts, Look, Wrong, said, shipped_rules
from k2ctl.api.history import PlatformHistory
from k2ctl.clock import ManualClock
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.dedup_status import DedupStatus, TierStatus
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import GroupCommitStatus, PartitionStatus, SequenceCounts, StateSyncStatus
from k2ctl.home import shipped
from tests.support.statuses import a_status

RULES = shipped_rules()
BEHIND = [PartitionStatus(0, 10, 10, 100)]
NOW_US = 1_700_000_000_000_000


class Watched:
    """A platform that is looked at every two seconds."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_US)
        self.history, self.alerts = PlatformHistory(self.clock), Alerts(RULES)

    def look(self, *consumers: ConsumerStatus, times: int = 1, not_ready: tuple[str, ...] = ()) -> tuple[Wrong, ...]:
        for _ in range(times):
            seen = Overview.of(consumers, at_us=self.clock.now_us())
            self.history.note(seen)
            self.alerts.look(seen.at_us, Look(seen, self.history), not_ready)
            self.clock.advance(2)
        return self.alerts.found


def counts(**more: int) -> Counts:
    return Counts(seen=100 + sum(more.values()), stored=100, **more)


def reduced(**more: Any) -> StateSyncStatus:
    return StateSyncStatus("redis", "REDUCED", "gone", **more)


CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("K2DegradationSevere", {"level_number": 3}, {"level_number": 2}, "t is at level 3 of 4"),
    ("K2LagHigh", {"lag_seconds": 95.0}, {"lag_seconds": 30.0}, "t is 1m 35s behind"),
    ("K2CommitsStalled", {"partitions": BEHIND, "last_commit_at_us": NOW_US - 130_000_000, "at_us": NOW_US},
     {"partitions": BEHIND, "last_commit_at_us": NOW_US - 100_000_000, "at_us": NOW_US}, "t is not being committed"),
    ("K2OffersUnanswered", {"group_commit": GroupCommitStatus(announcement_age_s=21.0)},
     {"group_commit": GroupCommitStatus(announcement_age_s=19.0)}, "No committer answers c"),
    ("K2RetentionLossNear", {"retention_left_s": 1799.0}, {"retention_left_s": 1800.0},
     "t: Kafka deletes unread trades in 29m 59s"),
    ("K2BalanceBroken", {"counts": Counts(seen=5, stored=4)}, {"counts": counts(shed=3, spilled=2)},
     "The counts of t do not balance"),
    ("K2GapsOpen", {"sequence": SequenceCounts(open_gaps=2)}, {}, "t has 2 open gaps"),
    ("K2StateReduced", {"state": reduced()}, {"state": StateSyncStatus("redis", "SHARED", "")},
     "t: the state store is REDUCED"),
    ("K2MaintenanceFailing", {"maintenance_error": "no"}, {}, "Maintenance of the table fails on c"),
    ("K2DedupSaveFailing", {"dedup_save_error": "no"}, {}, "t: deduplication state is not saved"),
    ("K2DedupReduced", {"dedup": DedupStatus(tier=TierStatus(guarantee="REDUCED"))},
     {"dedup": DedupStatus(tier=TierStatus(guarantee="SHARED"))},
     "t: copies across consumers may be stored"),
    ("K2TradesLost", {"counts": counts(lost=7)}, {"counts": counts()}, "t has lost trades"),
    ("K2DeadLetters", {"counts": counts(dead_lettered=7)}, {"counts": counts()}, "t gets dead letters"),
    ("K2GapTradesLost", {"sequence": SequenceCounts(lost_trades=7)}, {}, "t: missing trades are given up"),
]  # fmt: skip


@pytest.mark.parametrize(("alert", "wrong", "well", "what"), CASES)
def test_a_rule_names_what_is_wrong_and_nothing_else(
    alert: str, wrong: dict[str, Any], well: dict[str, Any], what: str
) -> None:
    watched = Watched()
    assert watched.look(a_status(counts=counts())) == ()
    assert watched.look(a_status(**{"counts": counts(), **well})) == ()
    (found,) = watched.look(a_status(**{"counts": counts(), **wrong}))
    assert (found.alert, found.what, found.runbook) == (alert, what, f"runbook#{alert.lower()}")
    assert found.since_us == NOW_US + 4_000_000


def test_it_fires_once_it_has_held_for_as_long_as_the_alert_waits_and_ends_when_it_is_over() -> None:
    watched, wrong = Watched(), a_status(level_number=4)
    watched.look(a_status())
    assert [one.firing for one in watched.look(wrong, times=30)] == [False]
    (found,) = watched.look(wrong)
    assert (found.firing, found.since_us, found.severity) == (True, NOW_US + 2_000_000, "critical")
    assert watched.look(a_status()) == ()
    assert watched.look(wrong)[0].since_us == NOW_US + 66_000_000


def test_since_when_is_not_known_of_what_was_so_before_the_first_look() -> None:
    watched = Watched()
    assert [one.since_us for one in watched.look(a_status(level_number=4), times=3)] == [None]


def test_without_a_consumer_that_is_what_is_wrong() -> None:
    assert [one.what for one in Watched().look()] == ["No consumer runs"]


def test_what_was_lost_before_the_service_began_is_not_new_and_what_is_old_is_no_longer() -> None:
    watched = Watched()
    assert watched.look(a_status(counts=counts(lost=7)), times=5) == ()
    assert len(watched.look(a_status(counts=counts(lost=8)))) == 1
    assert watched.look(a_status(counts=counts(lost=8)), times=300) == ()


def test_deferred_for_an_hour_is_named_after_an_hour_without_a_pause() -> None:
    watched, deferred = Watched(), a_status(outstanding=5)
    seen = Overview.of([deferred])
    for minutes, wanted in ((59, []), (2, ["t: trades have been deferred for an hour"])):
        for _ in range(minutes * 30):
            watched.history.note(replace(seen, at_us=watched.clock.now_us()))
            watched.clock.advance(2)
        assert [one.what for one in watched.look(deferred)] == wanted
    assert watched.look(a_status()) == ()
    assert watched.look(deferred) == ()


def test_two_consumers_with_the_same_trouble_are_two_entries() -> None:
    found = Watched().look(a_status("a", maintenance_error="x"), a_status("b", maintenance_error="x"))
    assert [one.what for one in found] == [f"Maintenance of the table fails on {name}" for name in "ab"]


def test_a_service_that_is_not_ready_says_why_though_nothing_else_is_known() -> None:
    watched = Watched()
    watched.alerts.look(NOW_US, None, ["Kafka does not answer"])
    (found,) = watched.alerts.found
    assert (found.alert, found.what) == (
        NOT_READY,
        "The query service of this page is not ready: Kafka does not answer",
    )


def test_every_alert_is_judged_or_left_to_prometheus_by_name() -> None:
    groups = yaml.safe_load((shipped("stack") / "prometheus" / "rules.yml").read_text())["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert set(RULES) | ONLY_PROMETHEUS == names
    assert not set(RULES) & ONLY_PROMETHEUS
    tried = {alert for alert, *_ in CASES}
    assert set(RULES) - tried == {NOT_READY, "K2ConsumerAbsent", "K2DeferredLong"}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_summary_can_be_said(rule: Any) -> None:
    assert "{" not in said(rule.summary, {"topic": "t", "instance": "i"}, 1.0)

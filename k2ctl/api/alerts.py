"""What is wrong now, by the alerts' own rules: those that a service can judge from what consumers report.

The rules, what they say and where their runbook is stand in `stack/prometheus/rules.yml` and nowhere else. A rule that
compares one metric with a number is read from there; `_JUDGED` has the others that need no Prometheus.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import yaml

from k2ctl.api.history import PlatformHistory
from k2ctl.domain.checkpoint import TERMS
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus
from k2ctl.home import shipped
from k2ctl.metrics import METRICS, samples

Found = tuple[dict[str, str], float]
"""The labels of what is wrong, and its value."""

_COMPARISON: Final = re.compile(r"(k2_\w+) (>=|<=|>|<|==|!=) ([0-9.]+)")
_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Look:
    """What is judged."""

    seen: Overview
    history: PlatformHistory

    @cached_property
    def by_metric(self) -> dict[str, list[Found]]:
        """What the consumers' metrics say, those that are a number."""
        found: dict[str, list[Found]] = {}
        for status in self.seen.consumers:
            for name, values, number in samples(status):
                if isinstance(number, int | float):
                    labels = dict(zip(METRICS[name].labels, values, strict=True))
                    found.setdefault(name, []).append(({**_labels(status), **labels}, number))
        return found


@dataclass(frozen=True)
class AlertRule:
    """An alert that a service can judge."""

    alert: str
    severity: str
    # How long it has to hold until the alert fires.
    for_us: int
    summary: str
    # Where its runbook is, from the page.
    runbook: str
    judge: Callable[[Look], Iterator[Found]]


def _stalled(look: Look) -> Iterator[Found]:
    for status in look.seen.consumers:
        behind = sum(part.behind for part in status.partitions)
        if behind and 0 < status.last_commit_at_us < status.at_us - 120_000_000:
            yield _labels(status), behind


def _absent(look: Look) -> Iterator[Found]:
    if not look.seen.consumers:
        yield {}, 1


def _unbalanced(look: Look) -> Iterator[Found]:
    seen = look.seen
    missing = seen.seen - sum(getattr(seen, term) for term in TERMS if term != "seen")
    if missing:
        yield _topics(seen), missing


def _grown(minutes: int, *names: str) -> Callable[[Look], Iterator[Found]]:
    """What a total has gained of late."""

    def judge(look: Look) -> Iterator[Found]:
        gained = sum(look.history.gained(name, minutes) for name in names)
        if gained > 0:
            yield _topics(look.seen), gained

    return judge


def _deferred_long(look: Look) -> Iterator[Found]:
    if look.seen.outstanding and look.history.is_above_zero("outstanding"):
        yield _topics(look.seen), look.seen.outstanding


_JUDGED: Final[dict[str, Callable[[Look], Iterator[Found]]]] = {
    "K2CommitsStalled": _stalled,
    "K2ConsumerAbsent": _absent,
    "K2TradesLost": _grown(10, "lost"),
    "K2BalanceBroken": _unbalanced,
    "K2GapTradesLost": _grown(30, "gap_trades_lost"),
    "K2DeadLetters": _grown(10, "undecodable", "dead_lettered"),
    "K2DeferredLong": _deferred_long,
}
NOT_READY: Final = "K2ApiNotReady"
"""Judged by the service of itself."""
ONLY_PROMETHEUS: Final = frozenset(
    {"K2ConsumerStuck", "K2ConsumerDown", "K2DedupFalsePositives", "K2DedupForgetsEarly", "K2LineSilent",
     "K2LineMissing", "K2ApiSlow"}
)  # fmt: skip
"""Of what nobody reports, or over rates that only Prometheus keeps."""


def shipped_rules() -> dict[str, AlertRule]:
    """The alerts that a service can judge, by name, in the order of their file."""
    groups = yaml.safe_load((shipped("stack") / "prometheus" / "rules.yml").read_text("utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: _rule(rule) for rule in alerts if rule["alert"] not in ONLY_PROMETHEUS}


def _rule(declared: Mapping[str, Any]) -> AlertRule:
    name, notes = declared["alert"], declared["annotations"]
    count, unit = re.fullmatch(r"(\d+)([smh])", declared.get("for", "0s")).groups()  # type: ignore[union-attr]
    judge = _JUDGED.get(name) or (_nothing if name == NOT_READY else _compared(declared["expr"]))
    runbook = "runbook" + notes["runbook_url"].removeprefix("stack/RUNBOOKS.md")
    return AlertRule(
        name, declared["labels"]["severity"], int(count) * _UNIT_S[unit] * 1_000_000, notes["summary"], runbook, judge
    )


def _nothing(_: Look) -> Iterator[Found]:
    yield from ()


def _compared(expression: str) -> Callable[[Look], Iterator[Found]]:
    """The judge of a metric that is compared with a number.

    Raises:
        ValueError: the rule is another one, and has to be judged here, or left to Prometheus.
    """
    found = _COMPARISON.fullmatch(expression)
    if found is None:
        raise ValueError(f"no service can judge {expression!r}")
    name, holds, limit = METRICS[found[1]].name, _HOLDS[found[2]], float(found[3])

    def judge(look: Look) -> Iterator[Found]:
        return (one for one in look.by_metric.get(name, ()) if holds(one[1], limit))

    return judge


def _labels(status: ConsumerStatus) -> dict[str, str]:
    return {"topic": status.topic, "instance": status.id}


def _topics(seen: Overview) -> dict[str, str]:
    return {"topic": ", ".join(sorted({status.topic for status in seen.consumers}))}


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong now."""

    alert: str
    severity: str
    what: str
    # Since when; None: it was so when the service first looked.
    since_us: int | None
    # Whether it has been so for as long as the alert waits.
    firing: bool
    runbook: str


class Alerts:
    """What is wrong, and since when. Of one thread; what it has found is replaced as a whole."""

    def __init__(self, rules: Mapping[str, AlertRule]) -> None:
        self._rules = rules
        self._since: dict[tuple[str, str], int] = {}
        self._began_us = 0
        self.found: tuple[Wrong, ...] = ()

    def look(self, at_us: int, look: Look | None, not_ready: Sequence[str]) -> None:
        """Judge what is seen now; None: nothing is known of the platform. not_ready: why the service is not."""
        self._began_us = self._began_us or at_us
        wrong = [(rule, labels, value) for rule in self._rules.values() if look for labels, value in rule.judge(look)]
        wrong += [(self._rules[NOT_READY], {"instance": "of this page", "why": why}, 1.0) for why in not_ready]
        since = {}
        for rule, labels, _ in wrong:
            key = rule.alert, repr(labels)
            since[key] = self._since.get(key, at_us)
        self._since = since
        self.found = tuple(
            self._wrong(at_us, rule, labels, value, since[rule.alert, repr(labels)]) for rule, labels, value in wrong
        )

    def _wrong(self, at_us: int, rule: AlertRule, labels: dict[str, str], value: float, since_us: int) -> Wrong:
        what = said(rule.summary, labels, value)
        known = None if since_us == self._began_us else since_us
        fires = at_us - since_us >= rule.for_us
        why = labels.get("why", "")
        return Wrong(rule.alert, rule.severity, f"{what}: {why}" if why else what, known, fires, rule.runbook)


def said(summary: str, labels: Mapping[str, str], value: float) -> str:
    """A summary of Prometheus with its labels and its value."""

    def filled(found: re.Match[str]) -> str:
        if found["label"]:
            return labels.get(found["label"], "")
        return _duration(value) if found["how"] == "humanizeDuration" else f"{value:,.4g}"

    return re.sub(r"\{\{ \$(?:labels\.(?P<label>\w+)|value)(?: \| (?P<how>\w+))? \}\}", filled, summary)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return " ".join(f"{number}{unit}" for number, unit in parts if number)[:20] or "0s"

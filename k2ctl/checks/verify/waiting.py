"""Consumers that backfill what was deferred: who runs, and waiting until they are done."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from k2ctl.deferred.outstanding import BY_HAND
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.telemetry import TelemetryReader

LISTEN_S: Final = 1.0
"""How long consumers are listened to at first: their newest reports lie in Kafka already."""
_AGAIN_S: Final = 0.5

Topics = Collection[str] | None
"""None: all."""


def running(endpoints: Endpoints, topics: Topics) -> list[ConsumerStatus]:
    """The consumers of these topics that report now."""
    with _reports(endpoints, topics) as reported:
        return reported(LISTEN_S)


def until_backfilled(endpoints: Endpoints, topics: Topics, say: Callable[[str], None]) -> None:
    """Wait while a consumer of these topics runs of which something is outstanding."""
    with _reports(endpoints, topics) as reported:
        at_work = _at_work(reported(LISTEN_S))
        while at_work:
            outstanding, back = (sum(getattr(one, name) for one in at_work) for name in ("outstanding", "backfilled"))
            say(f"{outstanding:,} trades are deferred, {back:,} are backfilled{_until_normal(at_work)}")
            at_work = _at_work(reported(_AGAIN_S))


def hint_of(consumers: Sequence[ConsumerStatus]) -> str:
    """What to do about deferred trades: a consumer that runs backfills them by itself."""
    at_work = _at_work(consumers)
    if not at_work:
        return "Backfill them: k2ctl backfill"
    names, verb = ", ".join(sorted(one.id for one in at_work)), "backfills" if len(at_work) == 1 else "backfill"
    return f"{names} {verb} them{_until_normal(at_work)}. Wait for it: k2ctl verify --wait"


def as_of_now(reasons: Sequence[str], endpoints: Endpoints, topics: Topics) -> tuple[str, ...]:
    """Why rows are missing from an answer. What a consumer is backfilling already, nobody has to backfill by hand."""
    if not any(reason.endswith(BY_HAND) for reason in reasons):
        return tuple(reasons)
    consumers = running(endpoints, topics)
    if not _at_work(consumers):
        return tuple(reasons)
    return tuple(
        f"{reason.removesuffix(BY_HAND)}; {hint_of(consumers)}" if reason.endswith(BY_HAND) else reason
        for reason in reasons
    )


def _at_work(consumers: Sequence[ConsumerStatus]) -> list[ConsumerStatus]:
    return [one for one in consumers if one.outstanding]


def _until_normal(consumers: Sequence[ConsumerStatus]) -> str:
    worst = max(consumers, key=lambda one: one.level_number)
    return "" if worst.level == "NORMAL" else f" once the level is NORMAL (it is {worst.level})"


@contextmanager
def _reports(endpoints: Endpoints, topics: Topics) -> Iterator[Callable[[float], list[ConsumerStatus]]]:
    reader = TelemetryReader(endpoints)
    try:
        yield lambda within_s: [
            one for one in reader.look(within_s).consumers.values() if topics is None or one.topic in topics
        ]
    finally:
        reader.close()

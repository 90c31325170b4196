"""The platform's figures over the last hour, for a page that opens; taken down also while no page is open."""

import threading
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, Final

from k2ctl.clock import Clock
from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import Transition

KEPT_MINUTES: Final = 60
STEP_S: Final = 2
_STEP_US: Final = STEP_S * 1_000_000
_KEPT_STEPS: Final = KEPT_MINUTES * 60 // STEP_S
_MOST_TRANSITIONS: Final = 500

Number = float | int | None


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


_OF_CONSUMERS: Final[dict[str, Callable[[Overview], Number]]] = {
    "level_number": lambda seen: seen.level_number,
    "intake_open": lambda seen: int(seen.intake == "open"),
    "consumers": lambda seen: len(seen.consumers),
    "lag_trades": lambda seen: seen.lag_trades,
    "lag_committed_trades": lambda seen: seen.lag_committed_trades,
    "lag_seconds": lambda seen: _rounded(seen.lag_seconds),
    "retention_left_s": lambda seen: _rounded(seen.retention_left_s),
    "rate_in": lambda seen: _rounded(seen.rate_in),
    "rate_committed": lambda seen: _rounded(seen.rate_committed),
    "commit_ms": lambda seen: _rounded(seen.commit_ms),
    "pending": lambda seen: seen.pending,
    "outstanding": lambda seen: seen.outstanding,
    "outstanding_spilled": lambda seen: seen.outstanding_spilled,
    "backfilled": lambda seen: seen.backfilled,
    "memory_fraction": lambda seen: _rounded(seen.memory_share, 4),
    "memory_bytes": lambda seen: seen.memory_bytes,
    "gaps": lambda seen: seen.sequence.open_gaps,
    "missing_trades": lambda seen: seen.sequence.missing_trades,
    "gap_trades_lost": lambda seen: seen.sequence.lost_trades,
    "stored": lambda seen: seen.stored,
    "duplicate": lambda seen: seen.duplicate,
    "dead_lettered": lambda seen: seen.dead_lettered,
    "undecodable": lambda seen: seen.undecodable,
    "lost": lambda seen: seen.lost,
}
"""Series → what it takes from an overview. Without a consumer that reports, none of them is known."""

SERIES: Final = ("rate_loaded", *_OF_CONSUMERS)


class PlatformHistory:
    """One look every two seconds, for an hour, and the changes of level of that hour. Thread-safe.

    A step without a look is a hole in every series: the service stood still, or Kafka did not answer. So is what was
    before the service: the first step is one too, so that a line that a page has already does not run on into it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._first = clock.now_us() // _STEP_US - 1
        # Step, counted from 1970 → when it was looked at, and the figures in the order of `SERIES`.
        self._looks: dict[int, tuple[int, tuple[Number, ...]]] = {}
        self._transitions: dict[Transition, None] = {}

    def note(self, seen: Overview) -> bool:
        """Keep the first look of each step; whether this one was kept."""
        step = seen.at_us // _STEP_US
        with self._lock:
            taken = step in self._looks
            if not taken:
                self._forget(step)
                self._looks[step] = (seen.at_us, _figures(seen))
            oldest_us = (step - _KEPT_STEPS + 1) * _STEP_US
            self._transitions |= {move: None for move in seen.transitions if move.at_us >= oldest_us}
            return not taken

    def _forget(self, step: int) -> None:
        """What is too old, and what was taken down before the clock was set back."""
        oldest = step - _KEPT_STEPS + 1
        for old in [one for one in self._looks if not oldest <= one <= step]:
            del self._looks[old]
        moves = [move for move in self._transitions if move.at_us >= oldest * _STEP_US]
        self._transitions = dict.fromkeys(sorted(moves, key=lambda move: move.at_us)[-_MOST_TRANSITIONS:])
        self._first = min(max(self._first, oldest), step)

    def gained(self, name: str, minutes: int) -> float:
        """By how much a total has grown over the last so many minutes, or since it is known."""
        known = [value for _, value in self._known(name, minutes)]
        return max(0.0, known[0] - known[-1]) if known else 0.0

    def is_above_zero(self, name: str) -> bool:
        """Whether a figure has been above zero over the whole time that is kept."""
        above = [step for step, _ in takewhile(lambda known: known[1] > 0, self._known(name, KEPT_MINUTES))]
        return bool(above) and above[0] - above[-1] >= _KEPT_STEPS - 2

    def _known(self, name: str, minutes: int) -> Iterator[tuple[int, float]]:
        """(step, figure) of the last so many minutes, where it is known; newest first."""
        place, first = SERIES.index(name), self._clock.now_us() // _STEP_US - minutes * 60 // STEP_S
        with self._lock:
            found = [*takewhile(lambda look: look[0] > first, reversed(self._looks.items()))]
        return ((step, figure) for step, (_, figures) in found if (figure := figures[place]) is not None)

    def document(self, minutes: int = KEPT_MINUTES) -> dict[str, Any]:
        """The last so many minutes: columns of one length, a row each step; null is what is not known."""
        now = self._clock.now_us() // _STEP_US
        with self._lock:
            looks, moves = dict(self._looks), list(self._transitions)
            first = max(self._first, now - minutes * 60 // STEP_S + 1)
        last = now if now in looks else now - 1  # its look may be still to come
        hole = (None,) * len(SERIES)
        rows = [looks.get(step) or (step * _STEP_US, hole) for step in range(first, last + 1)]
        columns = [list(column) for column in zip(*(figures for _, figures in rows), strict=True)]
        return {
            "step_s": STEP_S,
            "at_us": [at_us for at_us, _ in rows],
            "series": dict(zip(SERIES, columns or [[] for _ in SERIES], strict=True)),
            "transitions": [
                {"at_us": move.at_us, "from": move.from_level, "to": move.to_level, "reason": move.reason}
                for move in sorted(moves, key=lambda move: move.at_us)[-_MOST_TRANSITIONS:]
                if move.at_us // _STEP_US >= first
            ],
        }


def _figures(seen: Overview) -> tuple[Number, ...]:
    known = bool(seen.consumers)
    return (_rounded(seen.rate_loaded), *(read(seen) if known else None for read in _OF_CONSUMERS.values()))

"""Trades of a sample looked at: which fail and why, what their ids and numbers are like."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.domain.reasons import cause_of
from k2ctl.domain.texts import codes_of, instant_text
from k2ctl.domain.trade import ACTIONS, NEW, NO_SEQUENCE, SIDES, TRADE, RefusedTrade
from k2ctl.feeds.check.checked import Checked, CheckedNumbers, Failure, Ids, Origin
from k2ctl.feeds.check.numbers import numbers_of
from k2ctl.profiles.feed import DeclaredFeed

SHOWN_SYMBOLS: Final = 5
_PLACEHOLDERS: Final = {"symbol": b"SYMBOL", "exchange": b"VENUE"}
"""What a guess says where nothing else says it."""

_TRADE: Final = ("message_id", "symbol", "exchange", "event_ns")
_PRINT: Final = (*_TRADE, "price", "quantity", "action")


@dataclass(frozen=True)
class Part:
    """Some records of a topic or lines of a file, and what the feed makes of them."""

    # How many records or lines.
    records: int
    # Structured array of n trades (dtype `TRADE.message`), and int64[n]: the position of the record of each.
    trades: np.ndarray
    record: np.ndarray
    # Records that are none, and trades that fail, with the reason.
    broken: Sequence[tuple[int, str]]
    refused: Sequence[RefusedTrade]
    # Rows that the feed's `where` leaves out.
    filtered: int
    # A record by its position.
    origin: Callable[[int], Origin]


class _Rate:
    """Trades per second of reading and mapping, in the quickest part: the first also binds the expressions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun_s = clock.monotonic_s()
        self.trades_per_s = 0.0

    def note(self, trades: int) -> None:
        seconds = self._clock.monotonic_s() - self._begun_s
        self.trades_per_s = max(self.trades_per_s, trades / seconds if seconds else 0.0)

    def resume(self) -> None:
        self._begun_s = self._clock.monotonic_s()


class FeedCheck:
    """Collects what the parts of a sample hold. shown: how many trades to keep beside what they are of."""

    def __init__(self, declared: DeclaredFeed, target: str, shown: int, clock: Clock) -> None:
        self._declared, self._target, self._shown, self._clock = declared, target, shown, clock
        self._records = self._filtered = 0
        self._counts = Counter[str]()
        self._failures: dict[str, tuple[str, Origin]] = {}
        self._first: list[tuple[Origin, np.void]] = []
        self._trades: list[np.ndarray] = []

    def run(self, parts: Iterable[Part], most: int, *, has_more: bool = False) -> Checked:
        """Look at parts until `most` records were read. has_more: there are others beside the parts.

        Raises:
            ProfileError: an expression does not fit the columns.
        """
        watch, is_part = _Rate(self._clock), has_more
        for part in parts:
            if self._records >= most:
                is_part = True
                break
            watch.note(len(part.trades))
            self._add(part)
            watch.resume()
        return self._checked(watch.trades_per_s, is_part=is_part)

    def _add(self, part: Part) -> None:
        self._records += part.records
        self._filtered += part.filtered
        self._trades.append(part.trades)
        for at in range(min(len(part.trades), self._shown - len(self._first))):
            self._first.append((part.origin(int(part.record[at])), part.trades[at]))
        for record, reason in part.broken:
            self._fail(reason, partial(part.origin, record))
        for one in part.refused:
            self._fail(one.reason, partial(part.origin, one.record))

    def _fail(self, reason: str, origin: Callable[[], Origin]) -> None:
        cause = cause_of(reason)
        self._counts[cause] += 1
        if cause not in self._failures:
            self._failures[cause] = (reason, origin())

    def _checked(self, trades_per_s: float, *, is_part: bool) -> Checked:
        trades = np.concatenate([TRADE.empty(0), *self._trades])
        codes, symbols = codes_of(trades["symbol"]) if len(trades) else (np.zeros(0, np.int32), trades["symbol"])
        counted = np.bincount(codes, minlength=len(symbols))
        frequent = np.argsort(-counted, kind="stable")[:SHOWN_SYMBOLS]
        ids, numbers = ids_of(trades), self._numbers(trades)
        times = trades["event_ns"]
        return Checked(
            feed=self._declared.name,
            target=self._target,
            records=self._records,
            is_part=is_part,
            trades=len(trades),
            filtered=self._filtered,
            failed=self._counts.total(),
            failures=[Failure(cause, count, *self._failures[cause]) for cause, count in self._counts.most_common()],
            first=self._first,
            symbols=[(_text(symbols[at]), int(counted[at])) for at in frequent],
            symbol_count=len(symbols),
            since=instant_text(times.min()) if len(trades) else None,
            until=instant_text(times.max()) if len(trades) else None,
            sides={name: int((trades["side"] == code).sum()) for code, name in enumerate(SIDES)},
            ids=ids,
            numbers=numbers,
            trades_per_s=trades_per_s,
            remarks=tuple(self._remarks(trades, ids, numbers)),
        )

    def _numbers(self, trades: np.ndarray) -> CheckedNumbers | None:
        numbered = trades[trades["source_sequence"] != NO_SEQUENCE]
        if not len(numbered):
            return None
        settings = self._declared.feed.numbers
        found = numbers_of(numbered["symbol"].tolist(), numbered["source_sequence"].tolist())
        declared = "dense-per-symbol" if settings is None else settings.numbers
        if found is None:
            return CheckedNumbers(len(numbered), declared, None, "all are the same", sure=len(numbered) > 1)
        return CheckedNumbers(len(numbered), declared, found.kind, found.why, found.sure)

    def _remarks(self, trades: np.ndarray, ids: Ids, numbers: CheckedNumbers | None) -> Iterator[str]:
        for name, word in _PLACEHOLDERS.items():
            if len(trades) and (trades[name] == word).any():
                yield f"trade.{name} is {_text(word)}, which a guess says where nothing else does: say which it is."
        if ids.shared:
            yield f"{ids.shared:,} trades have the id of another one: identity says too little to tell them apart."
        if ids.reprints:
            yield f"{ids.reprints:,} trades have another's id, symbol and time, with another price or quantity."
        if numbers is not None and numbers.sure and numbers.found != numbers.declared:
            looks = f"the numbers look {numbers.found or 'like none'} ({numbers.why})"
            if numbers.declared.startswith("dense"):
                yield f"sequence says {numbers.declared}, and {looks}: what they leave out would count as lost."
            elif (numbers.found or "").startswith("dense"):
                yield f"sequence says {numbers.declared}, and {looks}: said so, gaps in them are found."
        events = int((trades["action"] != NEW).sum())
        if events:
            yield f"{events:,} trades are {' or '.join(ACTIONS[1:])}."


def ids_of(trades: np.ndarray) -> Ids:
    """What the ids of trades are like."""
    distinct, same, prints = (_distinct(trades, names) for names in (("message_id",), _TRADE, _PRINT))
    return Ids(distinct, len(trades) - prints, prints - same, same - distinct)


def _distinct(trades: np.ndarray, names: tuple[str, ...]) -> int:
    """How many different values some fields have together."""
    columns = [np.ascontiguousarray(trades[name]) for name in names]
    raw = [column.view(np.uint8).reshape(len(trades), -1) for column in columns] if len(trades) else []
    joined = np.ascontiguousarray(np.hstack(raw)) if raw else np.zeros((0, 1), np.uint8)
    return len(np.unique(joined.view(np.dtype((np.void, joined.shape[1])))))


def _text(name: bytes) -> str:
    return bytes(name).decode(errors="replace")

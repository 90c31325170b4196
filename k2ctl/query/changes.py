"""Which trades of an answer are corrected or cancelled: the events of both sides of the seam, resolved."""

import uuid
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.corrections import EVENTS_SCHEMA, Resolved, resolve, without_id
from k2ctl.domain.rows import Rows, ids_of
from k2ctl.domain.trade import LATEST_ALIKE
from k2ctl.lake.snapshots import NOTHING
from k2ctl.query.history import Asked, History
from k2ctl.query.seam import Sources
from k2ctl.sequence.gap_report import UnmatchedEvent

_ANY: Final = LATEST_ALIKE.tobytes()


class Events:
    """The corrections and cancellations that a question concerns: of its symbols, whatever their time.

    Of symbols that have none in the table, and without any in the stream, this costs nothing.
    """

    def __init__(self, history: History, sources: Sources, deferred: Sequence[Rows] = ()) -> None:
        """deferred: those of deferred ranges, which may be among other rows."""
        self._history, self._sources, self._question = history, sources, sources.question
        symbols = self._question.symbols
        plan = sources.pinned.events(symbols) if sources.pinned else NOTHING
        stored = history.events(plan, self._asked(symbols), self._question.page)
        tail = [rows for rows in (*sources.tail.events, *deferred) if len(rows)]
        self._events = pa.concat_tables([stored, *map(self._seen, tail)]) if tail else stored

    def __len__(self) -> int:
        return len(self._events)

    def resolved(self, fresh: pa.Table) -> Resolved:
        """The events with the trades that they change. fresh: new rows of the stream, reprints among them marked."""
        marked = pc.and_(pc.equal(fresh["action"], "NEW"), fresh["refers_to"].is_valid())
        events = pa.concat_tables([self._events, fresh.filter(marked).select(EVENTS_SCHEMA.names)])
        return resolve(events, self._alike(events))

    def changes(self, fresh: pa.Table) -> pa.Table:
        """What stands of each trade that is changed, as `CHANGES_SCHEMA`."""
        return self.resolved(fresh).changes

    def unmatched(self, fresh: pa.Table) -> tuple[UnmatchedEvent, ...]:
        """The events of the question's window whose trade neither side has, in the order of their time."""
        resolved = self.resolved(fresh)
        if not len(resolved.events):
            return ()
        lacking = self._history.without_trade(
            self._sources.plan_of(self._question.symbols), self._asked(None), fresh, resolved.referred
        )
        events = resolved.events.take(lacking).sort_by("timestamp")
        names = (_texts(events["message_id"]), _texts(events["refers_to"]))
        times_us = events["timestamp"].cast(pa.int64()).to_pylist()
        columns = (*(events[name].to_pylist() for name in ("exchange", "symbol", "action")), *names, times_us)
        found = (UnmatchedEvent(*values) for values in zip(*columns, strict=True))
        return tuple(one for one in found if self._question.window.holds(np.array([one.event_us]))[0])

    def _asked(self, symbols: Sequence[str] | None) -> Asked:
        return Asked(symbols, known_at_us=self._question.known_at_us)

    def _seen(self, rows: Rows) -> pa.Table:
        """Rows of the stream that the question may know, as `EVENTS_SCHEMA`."""
        page = self._question.page
        table = (rows if page is None else page.seen_of(rows)).to_arrow()
        return table.select(EVENTS_SCHEMA.names).cast(EVENTS_SCHEMA)

    def _alike(self, events: pa.Table) -> pa.Table | None:
        """The trades that cancellations without an id may mean; None without any of these."""
        cancellations = without_id(events)
        if not len(cancellations):
            return None
        symbols = cancellations["symbol"].unique().to_pylist()
        stored = self._history.alike(self._sources.plan_of(symbols), self._asked(symbols), cancellations)
        return pa.concat_tables([stored, *map(self._seen, self._sources.tail.alike)])


def _texts(ids: pa.ChunkedArray) -> list[str]:
    """Ids as texts; of one that names no trade an empty text."""
    return ["" if value == _ANY else str(uuid.UUID(bytes=value)) for value in (one.tobytes() for one in ids_of(ids))]

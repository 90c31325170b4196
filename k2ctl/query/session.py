"""The seam itself: one table over the lake and the stream, without a guess about time anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from k2ctl.clock import Clock, SystemClock
from k2ctl.errors import BrokerError, UsageError
from k2ctl.home import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.heads import Progress
from k2ctl.lake.pinned import Pinned, pin
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from k2ctl.query.answer import Answer, Evidence
from k2ctl.query.history import FilesGone, History
from k2ctl.query.names import unknown
from k2ctl.query.owed import owed_reasons
from k2ctl.query.stages import Stages
from k2ctl.query.stream import KafkaStream, Stream
from k2ctl.query.tail import Span, Tail, TailLimits, read_tail, span_of
from k2ctl.query.unite import United, unite
from k2ctl.query.window import WHOLE_HISTORY, Window
from k2ctl.schema.rows import Rows
from k2ctl.schema.topics import trades_topic

_TRIES: Final = 3
LAKE_ONLY: Final = "the stream was not read (lake only)"


@dataclass(frozen=True)
class _Question:
    """What was asked, and when."""

    symbols: Sequence[str] | None
    window: Window
    limit: int | None
    lake_only: bool
    asked_at_us: int


@dataclass(frozen=True)
class _Sources:
    """Both sides of the seam, as they belong together."""

    pinned: Pinned | None
    span: Span
    tail: Tail


class Session:
    """Answers queries over one lake and one topic. Not thread-safe; holds connections until `close`."""

    def __init__(
        self,
        lake: Lake,
        stream: Stream,
        clock: Clock | None = None,
        limits: TailLimits | None = None,
        universe: Universe | None = None,
    ) -> None:
        self._lake = lake
        self._stream = stream
        self._clock = clock or SystemClock()
        self._limits = limits or TailLimits()
        self._universe = universe
        self._history = History()

    @classmethod
    def at(cls, endpoints: Endpoints, clock: Clock | None = None, limits: TailLimits | None = None) -> "Session":
        """A session on the running stack, over the topic of its profile."""
        profile = load_profile(endpoints.profile)
        market = profile.market
        topic = trades_topic(market.asset_class, market.exchange)
        return cls(
            Lake.at(endpoints), KafkaStream(endpoints, topic, profile.topic.format), clock, limits, Universe(profile)
        )

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._history.close()
        self._lake.close()

    def recent(
        self,
        symbols: str | Sequence[str] | None,
        window: Window = WHOLE_HISTORY,
        limit: int | None = None,
        *,
        lake_only: bool = False,
    ) -> Answer:
        """The trades of `symbols` (None: of all) in `window`, newest first, at most `limit`, each exactly once.

        1. Pin a snapshot and its offsets from one metadata file.
        2. Take the watermarks: whatever was acknowledged before this call lies before them.
        3. Read Kafka from the offsets to the watermarks.
        4. Read the snapshot's rows, and unite both: one row per message_id.

        With `lake_only` steps 2 and 3 are left out, and the answer says that it is partial.

        Raises:
            UnknownSymbol: a symbol that neither side has ever seen, with the nearest names.
            BrokerError: Kafka does not answer. LakeError: the table or the catalog cannot be read.
        """
        wanted = [symbols] if isinstance(symbols, str) else symbols
        if wanted is not None and not wanted:
            raise UsageError("No symbol was named.", "Name one: k2ctl query recent BHP")
        question = _Question(wanted, window, limit, lake_only, self._clock.now_us())
        stages = Stages(self._clock)
        for _ in range(_TRIES - 1):
            try:
                return self._answer(question, stages)
            except FilesGone:
                continue  # a new pin names files that are there
        return self._answer(question, stages)

    def _answer(self, question: _Question, stages: Stages) -> Answer:
        sources = self._sources(question, stages)
        with stages.timed("plan"):
            files = self._files(sources.pinned, question.symbols, question.window)
        united = self._united(question, sources, files, stages)
        cut = question.limit is not None and len(united.rows) > question.limit
        rows = united.rows.slice(0, question.limit) if cut else united.rows
        from_tail = int(united.from_tail[: len(rows)].sum())
        pinned, span, tail = sources.pinned, sources.span, sources.tail
        evidence = Evidence(
            snapshot_id=pinned.snapshot_id if pinned else None,
            committed_at_us=pinned.committed_at_us if pinned else None,
            topic=span.topic,
            epoch=span.epoch,
            boundary=span.boundary,
            watermarks=span.watermarks,
            lake_rows=len(rows) - from_tail,
            tail_rows=from_tail,
            duplicates_removed=united.duplicates,
            tail_records=tail.records,
            undecodable=tail.undecodable,
            invalid=tail.invalid,
            lost=_lost(pinned, span.topic),
            more=cut,
            newest_us=rows.column("timestamp")[0].cast(pa.int64()).as_py() if len(rows) else None,
            asked_at_us=question.asked_at_us,
            missing=tail.missing + self._owed(sources, question),
            last_trade_us=self._silent(question, sources, rows, stages),
            files=len(files),
            stages_ms=stages.ms,
        )
        return Answer(rows, evidence)

    def _sources(self, question: _Question, stages: Stages) -> _Sources:
        """Steps 1 to 3. What retention deleted since the pin may have been stored since: then pin once more."""
        with stages.timed("pin"):
            pinned = pin(self._lake)
        if question.lake_only:
            self._lake.table()
            return _Sources(pinned, *_no_stream(self._stream.topic))
        try:
            with stages.timed("watermarks"):
                span = span_of(self._stream, pinned.progress if pinned else Progress())
            if span.holes:
                with stages.timed("pin"):
                    pinned = pin(self._lake)
                with stages.timed("watermarks"):
                    span = span_of(self._stream, pinned.progress if pinned else Progress())
            with stages.timed("tail"):
                tail = read_tail(
                    self._stream, span, question.symbols, question.window, self._limits, question.asked_at_us
                )
        except BrokerError as error:
            raise BrokerError(str(error), f"{error.hint}. What the lake has alone: --lake-only") from error
        return _Sources(pinned, span, tail)

    def _files(self, pinned: Pinned | None, symbols: Sequence[str] | None, window: Window) -> list[str]:
        return pinned.files(symbols, window.since_us, window.until_us) if pinned else []

    def _united(self, question: _Question, sources: _Sources, files: list[str], stages: Stages) -> United:
        """Step 4. Under a limit the lake gives one row more, to see if there are, and as many as the tail may copy."""
        tail = sources.tail.rows.to_arrow()
        fetch = None if question.limit is None else question.limit + 1 + len(tail)
        while True:
            with stages.timed("scan"):
                lake = self._history.newest(files, question.symbols, question.window, fetch)
            with stages.timed("unite"):
                united = unite(lake, tail)
            if fetch is None or question.limit is None or len(lake) < fetch or len(united.rows) > question.limit:
                return united
            fetch *= 4  # the lake itself held copies

    def _owed(self, sources: _Sources, question: _Question) -> tuple[str, ...]:
        if sources.pinned is None:
            return ()
        ledger = sources.pinned.progress.ledger.of(sources.span.topic)
        return owed_reasons(ledger, question.symbols, question.window, self._universe)

    def _silent(self, question: _Question, sources: _Sources, rows: pa.Table, stages: Stages) -> Mapping[str, int]:
        """Symbols that were asked for and have no row, with their last trade; unknown ones are an error."""
        if question.symbols is None:
            return {}
        found = set(rows.column("symbol").unique().to_pylist()) if len(rows) else set()
        if question.limit is not None and len(rows) == question.limit:
            return {}  # a symbol may be absent only because the limit cut it off
        silent: dict[str, int] = {}
        with stages.timed("names"):
            for symbol in question.symbols:
                if symbol in found:
                    continue
                files = self._files(sources.pinned, [symbol], WHOLE_HISTORY)
                times = (self._history.last_trade_us(files, symbol), sources.tail.last_us.get(symbol))
                known_us = [time for time in times if time is not None]
                if not known_us:
                    known = self._history.symbols(self._files(sources.pinned, None, WHOLE_HISTORY))
                    raise unknown(symbol, known | sources.tail.symbols, sources.tail.missing, self._stream.topic)
                silent[symbol] = max(known_us)
        return silent


def _no_stream(topic: str) -> tuple[Span, Tail]:
    """The stream's side of a query that leaves it out."""
    span = Span(topic, "", {}, {}, {}, {})
    return span, Tail(Rows.empty(topic, ""), 0, 0, 0, (LAKE_ONLY,), frozenset(), {})


def _lost(pinned: Pinned | None, topic: str) -> int:
    """Trades of a topic that retention deleted unread, in every epoch."""
    heads = pinned.progress.heads.items() if pinned else ()
    return sum(head.counts.lost for lane, head in heads if lane.topic == topic)

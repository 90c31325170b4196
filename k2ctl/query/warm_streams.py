"""The tails in memory of all topics that a table is filled from."""

import threading
from collections.abc import Sequence

from k2ctl.lake.snapshots import Pinned
from k2ctl.query.seam import Pinner
from k2ctl.query.stream import KafkaStream, KafkaStreams
from k2ctl.query.warm import LIMIT_TRADES, WarmStream


class WarmStreams:
    """`Streams` that answer from memory: each topic is followed from when a table first has it. Thread-safe."""

    def __init__(self, streams: KafkaStreams, pinner: Pinner, limit_trades: int = LIMIT_TRADES) -> None:
        self._streams = streams
        self._pin = pinner
        self._limit = limit_trades
        self._lock = threading.Lock()
        self._warm: dict[str, WarmStream] = {}

    def __call__(self, pinned: Pinned | None) -> Sequence[WarmStream]:
        with self._lock:
            wanted = {stream.topic: stream for stream in self._streams(pinned)}
            for topic, warm in tuple(self._warm.items()):
                if wanted.get(topic) is not warm.stream:  # its feed has changed, or the table is another one
                    self._warm.pop(topic).close()
            for topic, stream in wanted.items():
                if topic not in self._warm:
                    self._warm[topic] = self._begun(stream)
            return [self._warm[topic] for topic in wanted]

    def _begun(self, stream: KafkaStream) -> WarmStream:
        def beside() -> int:
            return sum(warm.held_trades for topic, warm in tuple(self._warm.items()) if topic != stream.topic)

        return WarmStream(stream, self._pin, self._limit, beside).start()

    @property
    def problem(self) -> str:
        """Why a topic is not being followed; empty while all are that Kafka has, of those of the table."""
        every = tuple(self._warm.values())
        there = [warm for warm in every if not warm.is_absent] or every
        return "; ".join(problem for warm in there if (problem := warm.problem))

    @property
    def held_trades(self) -> int:
        """Trades in memory."""
        return sum(warm.held_trades for warm in tuple(self._warm.values()))

    @property
    def symbols(self) -> set[str]:
        """Those of the trades in memory."""
        parts = (part for warm in tuple(self._warm.values()) for part in warm.held.parts)
        return {symbol for part in parts for symbol in part.symbols}

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are followed."""
        return tuple(self._warm)

    def close(self) -> None:
        """End the following."""
        with self._lock:
            for warm in self._warm.values():
                warm.close()

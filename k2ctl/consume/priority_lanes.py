"""Reading the topic in two priority lanes: the partitions of CRITICAL symbols first, the others with what is left.

In one queue CRITICAL trades would wait behind every other that was prefetched before them.
"""

from collections.abc import Collection, Mapping
from typing import Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.reader import AT_ENDS, Fetched, Hole, Reader, concatenate, prefetch
from k2ctl.kafka.watermarks import Silence, WatermarkFollower, open_transaction

FIRST_WAIT_S: Final = 0.02
NEXT_WAIT_S: Final = 0.005
TWO_WAIT_S: Final = 0.05
"""How long one of two readers is waited for: a record of the other may come so late."""

FETCH_WAIT_MS: Final = 250
"""How long Kafka keeps a fetch open for which there is nothing; it answers as soon as there is. A partition whose queue
was full is left out of that fetch, so its next one may come so late."""

LANE_BYTES: Final = 64 << 20
"""A lane's fetch ends behind this: records may turn from one trade to a thousand at any time."""

REST_FRACTION_UNDER_PRESSURE: Final = 0.1
"""The least that the other lane gets of a batch when CRITICAL would fill it: only trades that are read are deferred."""


EMBEDDED_FETCH_WAIT_MS: Final = 50
"""The embedded Kafka does not answer a fetch that is open when there is something, so that trades may wait for so long.
Asked five times as often, it took two thirds of what an idle consumer takes of the processor."""


def _fetching(endpoints: Endpoints) -> dict[str, int]:
    return {"fetch.wait.max.ms": EMBEDDED_FETCH_WAIT_MS if endpoints.engine == "embedded" else FETCH_WAIT_MS}


class PriorityReader:
    """Two readers over the partitions of one topic, used as one. The first `critical` partitions are CRITICAL's."""

    def __init__(
        self,
        endpoints: Endpoints,
        topic: str,
        group: str,
        critical: int,
        offsets: Mapping[int, int],
        highs: Mapping[int, int],
        clock: Clock | None = None,
        beside: Collection[str] = (),
    ) -> None:
        """offsets: where each partition is read from. highs: its high watermark, as just asked. beside: as `Reader`."""
        parts = (
            {p: offset for p, offset in offsets.items() if p < critical},
            {p: offset for p, offset in offsets.items() if p >= critical},
        )
        self._readers: list[Reader] = []
        for part in parts:
            if part:
                settings = {**AT_ENDS, **_fetching(endpoints), **prefetch(len(part))}
                reader = Reader(endpoints, topic, group, beside, **settings)
                reader.assign(part)
                self._readers.append(reader)
        self._beside = tuple(beside)
        self._clock = clock or SystemClock()
        followed = {p: highs[p] for p in offsets}
        self._watermarks = WatermarkFollower(endpoints, topic, followed, self._clock) if offsets else None
        self._has_critical = bool(parts[0])
        self._newest_ms: dict[int, int] = {}
        self.oldest_critical_ms: int | None = None
        """The earliest record timestamp that the last fetch brought from the CRITICAL lane, if any."""

    def wait(self, timeout_s: float) -> bool:
        """True as soon as there is something to fetch, or `TWO_WAIT_S` later; waits for about `timeout_s`."""
        if not self._readers:
            self._clock.sleep(min(TWO_WAIT_S, timeout_s))
            return False
        if len(self._readers) == 1:
            return self._readers[0].wait(timeout_s)
        until_s = self._clock.monotonic_s() + timeout_s
        while self._clock.monotonic_s() < until_s:
            if any(reader.wait(TWO_WAIT_S) for reader in self._readers):
                return True
        return False

    def fetch(self, records: int, per_call: int, *, critical_first: bool) -> Fetched:
        """Up to about `records` records: whatever comes within a few milliseconds of the first.

        critical_first: the CRITICAL lane may take all but a tenth; otherwise each lane takes up to half or more.
        """
        if not self._readers:
            return concatenate([], self._beside)
        if len(self._readers) == 1:
            fetched = self._fetch_from(self._readers[0], records, per_call, FIRST_WAIT_S)
            self.oldest_critical_ms = fetched.oldest_ms if self._has_critical else None
            return fetched
        first = self._fetch_from(self._readers[0], records if critical_first else records // 2, per_call, 0.0)
        least = round(records * REST_FRACTION_UNDER_PRESSURE) if critical_first else records // 2
        self.oldest_critical_ms = first.oldest_ms
        wait_s = NEXT_WAIT_S if len(first) else FIRST_WAIT_S
        rest = self._fetch_from(self._readers[1], max(least, records - len(first)), per_call, wait_s)
        return concatenate([part for part in (first, rest) if len(part)] or [first], self._beside)

    def _fetch_from(self, reader: Reader, records: int, per_call: int, wait_s: float) -> Fetched:
        parts: list[Fetched] = []
        left, size = max(1, records), 0
        while left > 0 and size < LANE_BYTES:
            wanted = min(left, per_call)
            part = reader.fetch(wanted, wait_s if not parts else NEXT_WAIT_S)
            if len(part):
                parts.append(part)
                left -= len(part)
                size += sum(map(len, part.values))
            if len(part) < wanted:
                break
        fetched = concatenate(parts, self._beside)
        if fetched.newest_ms is not None:
            self._newest_ms[self._readers.index(reader)] = fetched.newest_ms
        return fetched

    @property
    def positions(self) -> dict[int, int]:
        """The offset that each partition is read from next; also behind log entries that are no records."""
        return {p: offset for reader in self._readers for p, offset in reader.positions.items()}

    def high_watermarks(self) -> dict[int, int | None]:
        """The high watermarks, never older than five seconds; None where they are not known."""
        asked = self._watermarks.latest() if self._watermarks else None
        if asked is None:
            return dict.fromkeys(self.positions)
        fetched = {p: high for reader in self._readers for p, high in reader.high_watermarks().items()}
        return {p: max(asked[p], fetched[p] or 0) for p in fetched}

    @property
    def trouble(self) -> str:
        """Why reading cannot go on though the log does; empty while it can."""
        positions, open_spans = self.positions, self._watermarks.held if self._watermarks else {}
        stuck = {p: span for p, span in open_spans.items() if positions.get(p, 0) >= span[0]}
        return open_transaction(stuck) if stuck else ""

    def silence(self) -> Silence | None:
        """Since when Kafka has not answered; None while it does, or nothing is read from it."""
        return self._watermarks.silence() if self._watermarks else None

    def holes(self) -> list[Hole]:
        """What retention deleted before it was read, since the last call."""
        return [hole for reader in self._readers for hole in reader.holes()]

    def lag_records(self) -> int | None:
        """Records between the positions and the high watermarks; None while a watermark is unknown."""
        positions, highs = self.positions, self.high_watermarks()
        if None in highs.values():
            return None
        return sum(max(0, (high or 0) - positions[partition]) for partition, high in highs.items())

    def age_at_position_s(self, *, critical: bool) -> float | None:
        """How far behind now a lane reads, by the timestamp of the record it read last; 0 when it has read all.

        None before the first record, or while a watermark is unknown.
        """
        if not self._readers:
            return None
        if critical and not self._has_critical:
            return 0.0
        at = 0 if critical else len(self._readers) - 1
        positions, highs = self._readers[at].positions, self.high_watermarks()
        if None in highs.values():
            return None
        if all((highs[p] or 0) <= position for p, position in positions.items()):
            return 0.0
        newest_ms = self._newest_ms.get(at)
        return None if newest_ms is None else max(0.0, self._clock.now_us() / 1e6 - newest_ms / 1000)

    def advise(self, offsets: Mapping[int, int], shed_from: Mapping[int, int]) -> None:
        """As `Reader.advise`."""
        for reader in self._readers:
            reader.advise({p: offset for p, offset in offsets.items() if p in reader.positions}, shed_from)

    def close(self) -> None:
        """Leave the broker."""
        if self._watermarks is not None:
            self._watermarks.close()
        for reader in self._readers:
            reader.close()

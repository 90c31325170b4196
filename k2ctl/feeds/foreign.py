"""Records that a feed describes, as trades."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from k2ctl.domain.trade import Decoded, merged
from k2ctl.domain.validity import invalid
from k2ctl.feeds.cancelled import with_cancels
from k2ctl.feeds.formats.flat_json import FlatJson
from k2ctl.feeds.formats.flat_plan import plan_of
from k2ctl.feeds.formats.json_records import JsonRecords
from k2ctl.feeds.formats.registry_records import RegistryRecords
from k2ctl.feeds.formats.sbe_records import SbeRecords
from k2ctl.feeds.formats.sbe_schema import SbeMessage, read_schema
from k2ctl.feeds.mapping.bound import Bound
from k2ctl.feeds.mapping.by_name import bound_by_name
from k2ctl.feeds.mapping.mapping import Mapping, Parts, Prepared, in_order
from k2ctl.kafka.reader import BESIDE, Fetched, concatenate
from k2ctl.kafka.registry import RegistryUnanswered, SchemaRegistry
from k2ctl.profiles.external import with_secrets
from k2ctl.profiles.feed import DeclaredFeed, Feed

LOG: Final = logging.getLogger("k2ctl.feeds")


class Records(Protocol):
    """A format: record values to columns."""

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array], /) -> Parts:
        """The columns of n record values.

        columns: of the records, n values each, such as `kafka_offset`; they are among those of what is prepared.
        """
        ...

    def sample(self, topic: str, columns: dict[str, pa.Array], /) -> Prepared | None:
        """No rows of the columns that a topic's records have; None where only the records say that.

        columns: of the records, none of them.

        Raises:
            RegistryUnanswered: their schema is needed, and the registry does not give it now.
        """
        ...

    def why_bad(self, value: bytes, /) -> str:
        """Why a record is none, whose rows say `_bad`."""
        ...

    def alone(self, value: bytes, /) -> Sequence[bytes] | None:
        """See `Decoder`."""
        ...


class Foreign:
    """Records that a feed describes."""

    def __init__(self, declared: DeclaredFeed, cancels: tuple[str, ...]) -> None:
        self.declared = declared
        self._cancels = cancels
        self._mapping = Mapping(declared)
        self._records = _records_of(declared)
        texts = [text for _, text in declared.feed.expressions()]
        looks_alike = declared.feed.identity == "look-alikes"
        place = ("kafka_partition", "kafka_offset") if looks_alike else ()
        self._wanted = [name for name in _OF_RECORDS if name in place or any(name in text for text in texts)]
        without_time = declared.feed.trade.ingestion_timestamp is None
        named = {name for name in BESIDE if any(name in text for text in texts)}
        self.beside = frozenset(named | ({"kafka_timestamp"} if without_time else set()))

    def check(self, topic: str) -> None:
        """See `Decoder`. With the registry away nothing is known: what does not fit is refused with the first batch."""
        if isinstance(self._records, JsonRecords) and _json_by_name(self.declared.feed) is not None:
            return
        columns = {name: _OF_RECORDS[name](concatenate([], tuple(self.beside))) for name in self._wanted}
        try:
            prepared = self._records.sample(topic, columns)
        except RegistryUnanswered as error:
            LOG.warning("%s; the feed is looked at once it does", error)
            return
        if prepared is not None:
            self._mapping.check(prepared)

    def decode(self, fetched: Fetched) -> Decoded:
        """See `Decoder`."""
        decoded = self._decoded(fetched)
        if self.declared.feed.trade.ingestion_timestamp is None:
            decoded.trades["received_ns"] = _times_ns(fetched)[decoded.record]
        return with_cancels(decoded, self._cancels)

    def _decoded(self, fetched: Fetched) -> Decoded:
        """The flat records of JSON at once, all others exactly."""
        if self._flat is None:
            return self._exact(fetched)
        flat, is_read = self._flat.read(fetched.values)
        if is_read.all():
            return flat
        if not is_read.any():
            return self._exact(fetched)
        return merged(flat, self._exact(fetched.where(~is_read)), np.flatnonzero(~is_read))

    def _exact(self, fetched: Fetched) -> Decoded:
        """By the feed's SELECT."""
        columns = {name: _OF_RECORDS[name](fetched) for name in self._wanted}
        parts = self._records.prepare(fetched.values, columns)
        mapped = in_order([self._mapping.trades(prepared) for prepared in parts.prepared])
        broken = [*parts.broken, *((int(at), self._records.why_bad(fetched.values[at])) for at in mapped.bad)]
        filtered = np.concatenate([mapped.filtered, parts.filtered])
        refused = [*parts.refused, *mapped.refused]
        return Decoded(mapped.trades, mapped.record, mapped.index, broken, refused, filtered)

    @cached_property
    def _flat(self) -> FlatJson | None:
        """What reads flat objects of JSON; None where a feed has none, or needs more of a record than its value."""
        if not isinstance(self._records, JsonRecords) or self._wanted:
            return None
        feed = self.declared.feed
        plan = plan_of(feed, _json_by_name(feed) or self._mapping.bind(self._records.sample("", {})).bound)
        return None if plan is None else FlatJson(plan, lambda values: self._exact(Fetched.of_values(list(values))))

    def invalid(self, trades: np.ndarray, now_us: int) -> dict[int, str]:
        """See `Decoder`."""
        return invalid(trades, now_us, self.declared.feed.source.earliest_us)

    def alone(self, value: bytes) -> Sequence[bytes] | None:
        """See `Decoder`."""
        return self._records.alone(value)

    def shown(self, value: bytes) -> str | None:
        """A record's columns, of a format whose bytes say nothing to people; None of any other, or if it has none."""
        if self.declared.feed.source.format == "json":
            return None
        try:
            tables = [part.table for part in self._records.prepare([value], {}).prepared if len(part.table) == 1]
        except RegistryUnanswered:
            return None
        row = tables[0].to_pylist()[0] if tables else {}
        return ", ".join(f"{name} {one}" for name, one in row.items() if not name.startswith("_")) or None


def _records_of(declared: DeclaredFeed) -> Records:
    """What reads the records of a feed's format.

    Raises:
        ProfileError: the feed does not say what that needs.
    """
    source = declared.feed.source
    if source.format in ("avro", "protobuf"):
        return RegistryRecords(_registry(declared), source.message)
    if source.format == "sbe":
        return SbeRecords(_sbe_message(declared))
    return JsonRecords(source)


def _json_by_name(feed: Feed) -> dict[str, Bound] | None:
    """The expressions of a feed of JSON, whose columns are texts, if it only names them."""
    return bound_by_name(feed, dict.fromkeys(feed.source.paths, "VARCHAR"))


def _sbe_message(declared: DeclaredFeed) -> SbeMessage:
    """Raises:
    ProfileError: the feed does not name a message of a schema.
    """
    source = declared.feed.source
    if source.schema_file is None or source.message is None:
        raise declared.mistake(("source",), "sbe needs a schema, which is an XML file, and a message of it")
    try:
        return read_schema(declared.beside(source.schema_file), source.message)
    except ValueError as error:
        raise declared.mistake(("source", "schema"), str(error)) from error


def _registry(declared: DeclaredFeed) -> SchemaRegistry:
    """Raises:
    ProfileError: the feed names no registry.
    """
    address = declared.feed.source.registry
    if address is None:
        raise declared.mistake(("source",), f"{declared.feed.source.format} needs the address of a schema registry")
    try:
        return SchemaRegistry(with_secrets(address, declared.beside(".")))
    except ValueError as error:
        raise declared.mistake(("source", "registry"), str(error)) from error


_OF_RECORDS: Final[dict[str, Callable[[Fetched], pa.Array]]] = {
    "kafka_partition": lambda fetched: pa.array(fetched.partition),
    "kafka_offset": lambda fetched: pa.array(fetched.offset),
    "kafka_timestamp": lambda fetched: pa.array(fetched.beside["kafka_timestamp"], pa.timestamp("ms", "UTC")),
    "kafka_key": lambda fetched: pa.array(fetched.beside["kafka_key"], pa.binary()),
    "kafka_headers": lambda fetched: pa.array(fetched.beside["kafka_headers"], pa.map_(pa.string(), pa.binary())),
}
"""Columns that a record has beside its value."""


def _times_ns(fetched: Fetched) -> np.ndarray:
    """int64[n]: the timestamps of records; of those that have none, the latest of the batch."""
    newest_ms = fetched.newest_ms or 0
    times = fetched.beside.get("kafka_timestamp") or [newest_ms] * len(fetched)
    return np.array([newest_ms if time is None else time for time in times], np.int64) * 1_000_000

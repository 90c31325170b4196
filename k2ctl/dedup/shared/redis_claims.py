"""Claims in Redis, for consumers in several processes.

Layout, with `<ns>` as `k2:{<table uuid>:<topic>}`, and `@feeds` for a scope of all topics:

    <ns>:claims:generation            hash    name, run, evicted, era, tickets (`claim_scripts`)
    <ns>:claims:coverage              hash    topic, epoch and partition → `Coverage`
    <ns>:claims:lock                  string  token and ticket of who is claiming now
    <ns>:claims:healer                string  the consumer that heals now
    <ns>:claims:batch:<ticket>        string  `ClaimBatch`
    <ns>:claims:ids:<era>:<minute>:<bucket>   hash   id, 16 bytes → place and ticket, 6 bytes

The minute is of the trade's own time, so a copy is under the same key. The 256 buckets, by a hash of the id, keep keys
small: one that expires holds up Redis for as long as it takes to free it. Each key expires a window after it was last
written.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np

from k2ctl.clock import Clock, SystemClock
from k2ctl.dedup.shared import claim_scripts
from k2ctl.dedup.shared.claims import (
    PLACE_BITS,
    STORED,
    ClaimBatch,
    Claimed,
    ClaimedPartition,
    ClaimStatistics,
    Coverage,
    Covered,
    GenerationLost,
    Ticket,
)
from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.errors import StateError
from k2ctl.sequence.redis_connection import TIMEOUT_S, RedisConnection, raise_other_than_damage

T = TypeVar("T")

LOG: Final = logging.getLogger("k2ctl.dedup")

MINUTE_US: Final = 60_000_000
BUCKETS: Final = 256
PART_IDS: Final = 10_000
"""Claims of one script, which holds up Redis for some 20 ms."""
LOCK_MS: Final = 2_000
BUSY_S: Final = 1.0
BUSY_STEP_S: Final = 0.005
DAMAGES_KEPT: Final = 3
SAMPLED: Final = 200

_RECORD: Final = np.dtype([("id", "V16"), ("place", "<u2"), ("expected", "V6")])
_OTHER: Final = np.dtype([("at", "<u4"), ("place", "<u2"), ("ticket", "<u4")])
_FACTORS: Final = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)


class _Again(Exception):
    """The call is to be made again: another consumer is claiming, or a new generation has begun."""


@dataclass(frozen=True)
class _Records:
    """n claims in the order of their keys, as a script takes them."""

    # int64[n]: where each was.
    order: np.ndarray
    # `_RECORD`[n]
    records: np.ndarray
    # int64[n]: minute and bucket.
    keys: np.ndarray

    @classmethod
    def of(
        cls, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray | None = None
    ) -> "_Records":
        records = np.zeros(len(ids), _RECORD)
        records["id"], records["place"] = ids, places
        if expected is not None:
            records["expected"] = expected.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :6].copy().view("V6").ravel()
        words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
        buckets = ((words * _FACTORS).sum(axis=1, dtype=np.uint64) * _FACTORS[1]) >> np.uint64(56)
        keys = (times_us // MINUTE_US) * BUCKETS + buckets.astype(np.int64)
        order = np.argsort(keys, kind="stable")
        return cls(order, records[order], keys[order])

    def parts(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Per script the keys, and the records of each; one without any where there are no claims."""
        for first in range(0, max(1, len(self.keys)), PART_IDS):
            keys = self.keys[first : first + PART_IDS]
            text = self.records[first : first + PART_IDS].tobytes()
            begins = np.flatnonzero(np.diff(keys, prepend=-1))
            cuts = [*begins.tolist(), len(keys)]
            size = _RECORD.itemsize
            yield keys[begins].tolist(), [text[size * one : size * other] for one, other in pairwise(cuts)]

    def holders(self, found: list[bytes]) -> np.ndarray:
        """int64[n]: the holders that the scripts have met, where the claims were; 0 for our own."""
        sorted_holders = np.zeros(len(self.keys), np.int64)
        for number, text in enumerate(found):
            others = np.frombuffer(text, _OTHER)
            holders = others["ticket"].astype(np.int64) << PLACE_BITS | others["place"]
            sorted_holders[number * PART_IDS + others["at"]] = holders
        holders = np.zeros_like(sorted_holders)
        holders[self.order] = sorted_holders
        return holders


class RedisClaims:
    """A store in Redis. Nothing is sent before the first call."""

    def __init__(
        self, url: str, namespace: str, window_s: float, *, clock: Clock | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._connection = RedisConnection(url, timeout_s)
        self._client = self._connection.client
        self._prefix = f"{namespace}:claims"
        self._namespace = namespace
        self._window_s = max(1, round(window_s))
        self._clock = clock or SystemClock()
        self._era = ""
        self._seen = ("", 0)
        self._damaged: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return "redis"

    def claim(self, batch: ClaimBatch, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray) -> Claimed:
        return self._claimed(_Records.of(ids, times_us, places), record=_record(batch))

    def batches(self, numbers: Collection[int]) -> Mapping[int, ClaimBatch]:
        wanted = sorted(set(numbers) - {STORED >> PLACE_BITS})
        if not wanted:
            return {}
        with self._connection.talking():
            found: Any = self._client.mget([f"{self._prefix}:batch:{number}" for number in wanted])
        read = {number: _batch(text) for number, text in zip(wanted, found, strict=True) if text}
        return {number: batch for number, batch in read.items() if batch}

    def take_over(
        self, ticket: Ticket, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        return self._claimed(_Records.of(ids, times_us, places, expected), ticket=ticket).holders

    def confirm(self, ticket: Ticket, moved: Mapping[TopicPartition, Coverage]) -> bool:
        arguments = [ticket.generation, self._window_s]
        for partition, to in moved.items():
            arguments += [_field(partition), to.commit_id, to.sequence_number]
        try:
            self._again(lambda: self._run(claim_scripts.CONFIRM, [self._batch_key(ticket)], arguments))
        except GenerationLost:
            return False
        return True

    def covered(self) -> Covered:
        answer = self._again(lambda: self._run(claim_scripts.COVERED, [], []))
        return _covered(answer[1].decode(), answer[3])

    def add_stored(self, generation: str, ids: np.ndarray, times_us: np.ndarray) -> None:
        records = _Records.of(ids, times_us, np.zeros(len(ids), np.uint16))
        number = STORED >> PLACE_BITS
        self._again(lambda: self._put(records, generation=generation, token="", number=number, record=b""))

    def cover(
        self, generation: str, healed: Mapping[TopicPartition, Coverage], before: Mapping[TopicPartition, Coverage]
    ) -> None:
        arguments: list[Any] = [generation]
        for partition, to in healed.items():
            known = before.get(partition)
            was = ["1", known.since, known.commit_id] if known else ["", "", ""]
            arguments += [_field(partition), to.commit_id, to.sequence_number, *was]
        self._again(lambda: self._run(claim_scripts.COVER, [], arguments))

    def take_turn(self, consumer: str, for_s: float) -> bool:
        with self._connection.talking():
            given: Any = self._client.eval(
                claim_scripts.TURN, 1, f"{self._prefix}:healer", consumer, max(1, round(for_s * 1000))
            )
        return bool(given)

    def server(self) -> Mapping[str, object]:
        with self._connection.talking():
            return self._connection.server()

    def statistics(self) -> ClaimStatistics:
        """Ids are counted; their memory is estimated from a sample of keys."""
        with self._connection.talking():
            keys = self._connection.keys(f"{self._prefix}:ids:")
            batches = len(self._connection.keys(f"{self._prefix}:batch:"))
            counts = self._each("hlen", keys)
            sample = keys[:: max(1, len(keys) // SAMPLED)]
            sampled, sizes = self._each("hlen", sample), self._each("memory_usage", sample)
            server = self._connection.server()
        covered = self.covered()
        ids, bytes_ = sum(counts), round(sum(sizes) * sum(counts) / max(1, sum(sampled)))
        where = (self.kind, self._namespace, covered.generation)
        return ClaimStatistics(*where, ids, bytes_, len(keys), batches, covered, server, self._damaged)

    def _each(self, command: str, keys: list[bytes]) -> list[int]:
        """A figure of each key; 0 for one that is gone or of another program."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            getattr(pipeline, command)(key)
        answers = pipeline.execute(raise_on_error=False) if keys else []
        for answer in answers:
            raise_other_than_damage(answer)
        return [answer if isinstance(answer, int) else 0 for answer in answers]

    def close(self) -> None:
        self._connection.close()

    def _claimed(self, records: _Records, *, record: bytes = b"", ticket: Ticket | None = None) -> Claimed:
        """Put claims of a new ticket or a known one, under the lock."""
        token = secrets.token_hex(8)
        generation, number = ticket or ("", None)

        def put() -> list[Any]:
            return self._put(records, generation=generation, token=token, number=number, record=record)

        answers = self._again(put)
        name, given = answers[0][1].decode(), answers[0][3]
        self._seen = (name, given)
        holders = records.holders([answer[4] for answer in answers])
        return Claimed(Ticket(name, given), holders, _covered(name, answers[-1][5]))

    def _put(self, records: _Records, *, generation: str, token: str, number: int | None, record: bytes) -> list[Any]:
        """The answers of all parts, in one round trip."""
        era, parts = self._era or self._known_era(), list(records.parts())
        with self._connection.talking():
            pipeline = self._client.pipeline(transaction=False)
            for at, (keys, texts) in enumerate(parts):
                marks = ("first " if at == 0 else "") + ("last" if at == len(parts) - 1 else "")
                names = [f"{self._prefix}:ids:{era}:{key // BUCKETS}:{key % BUCKETS}" for key in keys]
                lock = (token, LOCK_MS, "" if number is None else number)
                settings = (era, generation, *lock, f"{self._prefix}:batch:", self._window_s, marks)
                arguments = [*settings, record if marks else b"", *texts]
                pipeline.eval(*self._call(claim_scripts.PUT, [f"{self._prefix}:lock", *names], arguments))
            answers = pipeline.execute()
        for answer in answers:
            self._check(answer)
        if len({answer[1] for answer in answers}) > 1:
            raise _Again
        return answers

    def _run(self, script: str, keys: list[str], arguments: list[Any]) -> list[Any]:
        """One script's answer."""
        with self._connection.talking():
            answer: Any = self._client.eval(*self._call(script, keys, arguments))
        self._check(answer)
        return list(answer)

    def _call(self, script: str, keys: list[str], arguments: list[Any]) -> tuple[Any, ...]:
        names = (f"{self._prefix}:generation", f"{self._prefix}:coverage", *keys)
        return (script, len(names), *names, secrets.token_hex(8), secrets.token_hex(4), *self._seen, *arguments)

    def _known_era(self) -> str:
        self._again(lambda: self._run(claim_scripts.COVERED, [], []))
        return self._era

    def _check(self, answer: list[Any]) -> None:
        """What a script answers instead of `ok`.

        Raises:
            GenerationLost: the ticket is of another generation. _Again: the call may succeed now.
        """
        said = answer[0].decode()
        if said == "damaged":
            self._note_damage(answer[1].decode())
            raise _Again
        self._era = answer[2].decode()
        if said == "lost":
            raise GenerationLost("Redis has lost claims since.", "See: k2ctl state stats")
        if said != "ok":
            raise _Again

    def _again(self, call: Callable[[], T]) -> T:
        """Make a call until it may be done, for a second.

        Raises:
            StateError: another consumer has been claiming for so long.
        """
        limit_s = self._clock.monotonic_s() + BUSY_S
        while True:
            try:
                return call()
            except _Again:
                if self._clock.monotonic_s() > limit_s:
                    raise StateError(
                        "Other consumers have been claiming for a second.", "See: k2ctl state stats"
                    ) from None
                self._clock.sleep(BUSY_STEP_S)

    def _note_damage(self, key: str) -> None:
        if key not in self._damaged:
            LOG.warning("a key of claims was written by another program: the generation is lost", extra={"key": key})
            self._damaged = (*self._damaged, f"{key}: another program has written it")[-DAMAGES_KEPT:]

    def _batch_key(self, ticket: Ticket) -> str:
        return f"{self._prefix}:batch:{ticket.number}"


def _record(batch: ClaimBatch) -> bytes:
    parts = ["1" if batch.confirmed else "0", batch.consumer.replace("\t", " ")]
    for partition, base in batch.partitions:
        parts += [_field(partition), base]
    return "\t".join(parts).encode()


def _batch(record: bytes) -> ClaimBatch | None:
    """None for a record that another program has written; `confirm` takes it for none, too."""
    try:
        confirmed, consumer, *parts = record.decode().split("\t")
        partitions = [
            ClaimedPartition(TopicPartition(topic, epoch, int(partition)), base)
            for topic, epoch, partition, base in zip(*(parts[at::4] for at in range(4)), strict=True)
        ]
    except ValueError:
        return None
    return ClaimBatch(consumer, tuple(partitions), confirmed == "1")


def _field(partition: TopicPartition) -> str:
    return "\t".join(map(str, partition))


def _covered(generation: str, answer: list[bytes]) -> Covered:
    """What cannot be read is not covered."""
    by_partition = {}
    for field, value in zip(answer[::2], answer[1::2], strict=True):
        with suppress(ValueError):
            topic, epoch, partition = field.decode().split("\t")
            since, commit_id, number, on = value.decode().split("\t")
            by_partition[TopicPartition(topic, epoch, int(partition))] = Coverage(since, commit_id, int(number), on)
    return Covered(generation, by_partition)

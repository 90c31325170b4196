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
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import numpy as np

from k2ctl.clock import Clock, SystemClock
from k2ctl.dedup.shared import claim_scripts
from k2ctl.dedup.shared.claim_records import BUCKETS, ClaimRecords, batch_of, covered_of, field_of, record_of
from k2ctl.dedup.shared.claims import (
    PLACE_BITS,
    STORED,
    ClaimBatch,
    Claimed,
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

LOCK_MS: Final = 2_000
BUSY_S: Final = 1.0
BUSY_STEP_S: Final = 0.005
DAMAGES_KEPT: Final = 3
SAMPLED: Final = 200


class _Again(Exception):
    """The call is to be made again: another consumer is claiming, or a new generation has begun."""


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

    @property
    def round_trips(self) -> int:
        """Calls of Redis since the start."""
        return self._connection.round_trips

    def claim(self, batch: ClaimBatch, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray) -> Claimed:
        return self._claimed(ClaimRecords.of(ids, times_us, places), record=record_of(batch))

    def batches(self, numbers: Collection[int]) -> Mapping[int, ClaimBatch]:
        wanted = sorted(set(numbers) - {STORED >> PLACE_BITS})
        if not wanted:
            return {}
        with self._connection.talking():
            found: Any = self._client.mget([f"{self._prefix}:batch:{number}" for number in wanted])
        read = {number: batch_of(text) for number, text in zip(wanted, found, strict=True) if text}
        return {number: batch for number, batch in read.items() if batch}

    def take_over(
        self, ticket: Ticket, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        return self._claimed(ClaimRecords.of(ids, times_us, places, expected), ticket=ticket).holders

    def confirm(self, ticket: Ticket, moved: Mapping[TopicPartition, Coverage]) -> bool:
        arguments = [ticket.generation, self._window_s]
        for partition, to in moved.items():
            arguments += [field_of(partition), to.commit_id, to.sequence_number]
        try:
            self._again(lambda: self._run(claim_scripts.CONFIRM, [self._batch_key(ticket)], arguments))
        except GenerationLost:
            return False
        return True

    def covered(self) -> Covered:
        answer = self._again(lambda: self._run(claim_scripts.COVERED, [], []))
        return covered_of(answer[1].decode(), answer[3])

    def add_stored(self, generation: str, ids: np.ndarray, times_us: np.ndarray) -> None:
        records = ClaimRecords.of(ids, times_us, np.zeros(len(ids), np.uint16))
        number = STORED >> PLACE_BITS
        self._again(lambda: self._put(records, generation=generation, token="", number=number, record=b""))

    def cover(
        self, generation: str, healed: Mapping[TopicPartition, Coverage], before: Mapping[TopicPartition, Coverage]
    ) -> None:
        arguments: list[Any] = [generation]
        for partition, to in healed.items():
            known = before.get(partition)
            was = ["1", known.since, known.commit_id] if known else ["", "", ""]
            arguments += [field_of(partition), to.commit_id, to.sequence_number, *was]
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

    def _claimed(self, records: ClaimRecords, *, record: bytes = b"", ticket: Ticket | None = None) -> Claimed:
        """Put claims of a new ticket or a known one, under the lock."""
        token = secrets.token_hex(8)
        generation, number = ticket or ("", None)

        def put() -> list[Any]:
            return self._put(records, generation=generation, token=token, number=number, record=record)

        answers = self._again(put)
        name, given = answers[0][1].decode(), answers[0][3]
        self._seen = (name, given)
        holders = records.holders([answer[4] for answer in answers])
        return Claimed(Ticket(name, given), holders, covered_of(name, answers[-1][5]))

    def _put(
        self, records: ClaimRecords, *, generation: str, token: str, number: int | None, record: bytes
    ) -> list[Any]:
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

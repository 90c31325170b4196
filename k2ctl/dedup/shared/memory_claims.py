"""Claims in the memory of one process, for consumers that share it.

A dict per slice of the trades' own time: id → holder, some 130 bytes an id.
"""

import secrets
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import (
    FIRST_TICKET,
    STORED,
    ClaimBatch,
    Claimed,
    ClaimStatistics,
    Coverage,
    Covered,
    GenerationLost,
    Ticket,
    holders_of,
    tickets_of,
)
from k2ctl.dedup.shared.coverage import when_claimed, when_confirmed, when_healed
from k2ctl.domain.checkpoint import TopicPartition

SLICE_US: Final = 60_000_000
BYTES_PER_ID: Final = 130
"""Of a dict with ids as bytes and holders as ints: 123 to 139, measured with tracemalloc over 1,000,000 ids."""


@dataclass
class _Minute:
    """The claims of trades of one minute."""

    holders: dict[bytes, int] = field(default_factory=dict)
    written_us: int = 0


class MemoryClaims:
    """A store that lives and dies with its process."""

    def __init__(self, namespace: str, window_s: float, clock: Clock) -> None:
        self._namespace = namespace
        self._window_us = round(window_s * 1e6)
        self._clock = clock
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Lose everything, as a Redis that comes back empty."""
        with self._lock:
            self._generation = secrets.token_hex(8)
            self._next = FIRST_TICKET
            self._slices: dict[int, _Minute] = {}
            # Each with when it expires.
            self._batches: dict[int, tuple[int, ClaimBatch]] = {}
            self._covered: dict[TopicPartition, Coverage] = {}
            # Who heals, and until when.
            self._turn = ("", 0.0)

    @property
    def kind(self) -> str:
        return "memory"

    def claim(self, batch: ClaimBatch, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray) -> Claimed:
        with self._lock:
            self._expire()
            ticket = Ticket(self._generation, self._next)
            self._next += 1
            self._batches[ticket.number] = (self._clock.now_us() + self._window_us, batch)
            ours = holders_of(ticket.number, places)
            holders = np.zeros(len(ids), np.int64)
            for at, held in self._by_slice(times_us):
                found = [held.setdefault(*claim) for claim in zip(_listed(ids[at]), ours[at].tolist(), strict=True)]
                holders[at] = found
            for partition, base in batch.partitions:
                self._covered[partition] = when_claimed(self._covered.get(partition), base)
            return Claimed(ticket, _others(holders, ticket), self._covered_now())

    def batches(self, numbers: Collection[int]) -> Mapping[int, ClaimBatch]:
        with self._lock:
            self._expire()
            return {number: self._batches[number][1] for number in numbers if number in self._batches}

    def take_over(
        self, ticket: Ticket, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        with self._lock:
            self._expire()
            self._check(ticket.generation)
            if ticket.number not in self._batches:
                raise GenerationLost("The record of the ticket has expired.")
            ours = holders_of(ticket.number, places)
            holders = np.zeros(len(ids), np.int64)
            for at, held in self._by_slice(times_us):
                for place, name in zip(at.tolist(), _listed(ids[at]), strict=True):
                    if held.get(name, expected[place]) == expected[place]:
                        held[name] = int(ours[place])
                    holders[place] = held[name]
            return _others(holders, ticket)

    def confirm(self, ticket: Ticket, moved: Mapping[TopicPartition, Coverage]) -> bool:
        with self._lock:
            self._expire()
            known = self._batches.get(ticket.number) if ticket.generation == self._generation else None
            if known is None:
                return False
            if not moved:
                del self._batches[ticket.number]
                return True
            expires_us = self._clock.now_us() + self._window_us
            self._batches[ticket.number] = (expires_us, replace(known[1], confirmed=True))
            for partition, base in known[1].partitions:
                if partition in moved:
                    before = self._covered.get(partition)
                    self._covered[partition] = when_confirmed(before, base, moved[partition])
            return True

    def covered(self) -> Covered:
        with self._lock:
            return self._covered_now()

    def add_stored(self, generation: str, ids: np.ndarray, times_us: np.ndarray) -> None:
        with self._lock:
            self._expire()
            self._check(generation)
            for at, held in self._by_slice(times_us):
                for name in _listed(ids[at]):
                    held.setdefault(name, STORED)

    def cover(
        self, generation: str, healed: Mapping[TopicPartition, Coverage], before: Mapping[TopicPartition, Coverage]
    ) -> None:
        with self._lock:
            self._check(generation)
            for partition, up_to in healed.items():
                now = self._covered.get(partition)
                self._covered[partition] = when_healed(now, before.get(partition), up_to)

    def take_turn(self, consumer: str, for_s: float) -> bool:
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._turn[0] != consumer and now_s < self._turn[1]:
                return False
            self._turn = (consumer, now_s + for_s)
            return True

    def server(self) -> Mapping[str, object]:
        return {}

    def statistics(self) -> ClaimStatistics:
        with self._lock:
            self._expire()
            ids = sum(len(kept.holders) for kept in self._slices.values())
            return ClaimStatistics(
                self.kind,
                self._namespace,
                self._generation,
                ids,
                ids * BYTES_PER_ID,
                len(self._slices),
                len(self._batches),
                self._covered_now(),
            )

    def close(self) -> None:
        """Nothing to close."""

    def _check(self, generation: str) -> None:
        if generation != self._generation:
            raise GenerationLost("The claims were lost.")

    def _covered_now(self) -> Covered:
        return Covered(self._generation, dict(self._covered))

    def _by_slice(self, times_us: np.ndarray) -> Iterator[tuple[np.ndarray, dict[bytes, int]]]:
        """The positions of the claims of each slice, which is written, with the holders there."""
        slices, of = np.unique(times_us // SLICE_US, return_inverse=True)
        for number, minute in enumerate(slices.tolist()):
            kept = self._slices.setdefault(minute, _Minute())
            kept.written_us = self._clock.now_us()
            yield np.flatnonzero(of == number), kept.holders

    def _expire(self) -> None:
        now_us = self._clock.now_us()
        since_us = now_us - self._window_us
        self._slices = {minute: kept for minute, kept in self._slices.items() if kept.written_us > since_us}
        self._batches = {number: kept for number, kept in self._batches.items() if kept[0] > now_us}


def _listed(ids: np.ndarray) -> list[bytes]:
    names: list[bytes] = ids.tolist()
    return names


def _others(holders: np.ndarray, ticket: Ticket) -> np.ndarray:
    """Those of others; 0 for our own."""
    return np.where(tickets_of(holders) == ticket.number, 0, holders)

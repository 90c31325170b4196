"""The process in which SQL runs for the service: one query after another, ended from outside if it takes too much."""

import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from os import getppid
from typing import Any, Final

import pyarrow as pa

from k2ctl.api.problems import UNFORESEEN, kind_of
from k2ctl.api.settings import Limits
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.garbage import spare_what_is_there
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import load_profile
from k2ctl.profiles.foreign import of_others
from k2ctl.profiles.universe import Universe
from k2ctl.query.described import described, parameters_of
from k2ctl.query.proof import with_evidence
from k2ctl.query.session import Session
from k2ctl.query.sql import SqlAnswer, SqlLimits, sql
from k2ctl.query.stream import KafkaStreams
from k2ctl.query.tail import TailLimits
from k2ctl.signals import end_with, leave_to_parent

_LOG: Final = logging.getLogger("k2ctl.flight")


@dataclass(frozen=True)
class QueriedStack:
    """Whose trades a process queries, within which limits."""

    endpoints: Endpoints
    limits: Limits
    # None for those that the table is filled from.
    topic: str | None = None

    def session(self) -> Session:
        """A session on it."""
        profile = load_profile(self.endpoints.profile)
        profile = of_others(profile, topic=self.topic) if self.topic else profile
        tail = TailLimits(500_000, self.limits.seconds / 2)
        streams = KafkaStreams(self.endpoints, profile)
        return Session(Lake.at(self.endpoints), streams, limits=tail, universe=Universe(profile))


@dataclass(frozen=True)
class AskedSql:
    """A query; or, to be described, the columns that it gives and its parameters."""

    text: str
    # With the name of each; of `?` only the order counts.
    values: tuple[tuple[str, Any], ...] = ()
    describe: bool = False


@dataclass(frozen=True)
class Computed:
    """Rows, or a schema without rows, as an Arrow stream."""

    stream: bytes
    # True if there are more rows than an answer may have.
    more: bool = False
    # Of a description: the names of the parameters, in their order.
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why there are no rows: a problem by its kind, with what to do."""

    kind: str
    message: str
    hint: str = ""


def run_queries(place: QueriedStack, pipe: Connection) -> None:
    """The process: says that it is ready, then answers what comes until its parent closes the pipe, or dies."""
    leave_to_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(getppid())
    with place.session() as session:
        spare_what_is_there()
        pipe.send(None)
        while True:
            try:
                asked: AskedSql = pipe.recv()
            except EOFError:
                return
            pipe.send(_answer(session, asked, place.limits))


def _answer(session: Session, asked: AskedSql, limits: Limits) -> Computed | Failed:
    try:
        names = parameters_of(asked.text)
        if asked.describe:
            return Computed(_stream([], described(session, asked.text, limits.sql_memory_mb)), parameters=names)
        within = SqlLimits(limits.sql_memory_mb, limits.seconds)
        with sql(session, asked.text, within, parameters=_bound(names, asked)) as found:
            return _taken(found, limits)
    except K2Error as error:
        return Failed(kind_of(error), str(error), error.hint)
    except Exception:
        _LOG.exception("a query failed in a way that was not foreseen")
        return Failed("failed", UNFORESEEN)


def _bound(names: tuple[str, ...], asked: AskedSql) -> Mapping[str, Any]:
    """The values by name; by their order, where the query or whoever asks has only numbers for them."""
    by_order = any(all(name.isdigit() for name in every) for every in (names, [name for name, _ in asked.values]))
    if by_order and len(names) == len(asked.values):
        return {name: value for name, (_, value) in zip(names, asked.values, strict=True)}
    return dict(asked.values)


def _taken(found: SqlAnswer, limits: Limits) -> Computed:
    """The rows up to the limits of an answer."""
    batches, rows, size, more = list[pa.RecordBatch](), 0, 0, False
    for batch in found.rows:
        kept = batch.slice(0, limits.rows - rows)
        size += kept.nbytes
        more = len(kept) < len(batch) or size > limits.answer_bytes
        if size <= limits.answer_bytes:
            batches.append(kept)
            rows += len(kept)
        if more:
            break
    return Computed(_stream(batches, with_evidence(found.rows.schema, found.evidence)), more)


def _stream(batches: list[pa.RecordBatch], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content

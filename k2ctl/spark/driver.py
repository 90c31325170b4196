"""The program of the driver: a process of its own, whose Python needs PySpark and nothing else.

It gets commands as lines of JSON on its standard input, and answers by lines of JSON on the pipe whose number is
its only argument: so no password is on a command line. The first line is the session's configuration. When its input
ends, because whoever started it has ended or has had enough, it cancels what runs and ends; its JVM ends with it.
"""

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from pyspark.sql import SparkSession

END_WITHIN_S: Final = 10.0
PROGRESS_EVERY_S: Final = 1.0
ROWS_AT_ONCE: Final = 1000
TRIES: Final = 8
"""Of a commit that appenders were faster with: rewriting manifests takes a part of a second."""

Document = dict[str, Any]


class Driver:
    """One session and the table that it works on."""

    def __init__(self, start: Document, tell: Callable[[Document], None]) -> None:
        """start: master, options of the session, settings of the catalog (with its secrets), the table's name."""
        self._tell = tell
        builder = SparkSession.builder.master(start["master"]).appName("k2ctl")
        for name, value in start["options"].items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        # Only now: what is known before goes to the JVM on its command line.
        for name, value in start["catalog"].items():
            self.session.conf.set(name, value)
        self._table = start["table"]

    def _loaded(self) -> Any:
        spark3 = self._java.org.apache.iceberg.spark.Spark3Util
        return spark3.loadIcebergTable(self.session._jsparkSession, self._table)

    @property
    def _java(self) -> Any:
        return self.session._jvm

    def _actions(self) -> Any:
        return self._java.org.apache.iceberg.spark.actions.SparkActions.get(self.session._jsparkSession)

    def work(self, command: Document) -> None:
        """Do one thing and tell what it gave."""
        steps: dict[str, Callable[[Document], Document]] = {
            "rewrite": self.rewrite,
            "orphans": self.orphans,
            "manifests": self.manifests,
            "sql": self.sql,
        }
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watch.start()
        try:
            found: Document = {"done": steps[command["do"]](command)}
        except Exception as error:
            found = {"error": _line_of(error), "kind": type(error).__name__}
        finally:
            done.set()
            watch.join()
        self._tell(found)

    def _watch(self, done: threading.Event) -> None:
        """Tell how many tasks are done of the jobs that run."""
        tracker = self.session.sparkContext.statusTracker()
        while not done.wait(PROGRESS_EVERY_S):
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            known = [stage for stage in stages if stage is not None]
            if known:
                self._tell({"tasks": sum(s.numCompletedTasks for s in known), "of": sum(s.numTasks for s in known)})

    def rewrite(self, command: Document) -> Document:
        """Write the rows of some hours as sorted files, and commit nothing.

        Iceberg's action works on a table whose commits go into a transaction that is never committed: what it would
        have committed is reported, so that whoever asked can compare it, and swap it in beside fast appenders.
        """
        pending = self._loaded().newTransaction()
        changed = pending.updateProperties()
        for name, value in command["properties"].items():
            changed = changed.set(name, value)
        changed.commit()
        table = self._java.org.apache.iceberg.BaseTable(pending.table().operations(), self._table)
        before = table.currentSnapshot().snapshotId()
        action = self._actions().rewriteDataFiles(table).filter(self._within(command["hours_us"]))
        for name, value in command["options"].items():
            action = action.option(name, value)
        order = self._java.org.apache.iceberg.SortOrder.builderFor(table.schema())
        for column in command["order"]:
            order = order.asc(column)
        action.sort(order.build()).execute()
        snapshot = table.currentSnapshot()
        if snapshot.snapshotId() == before:
            return {"added": [], "removed": []}
        files = {"added": snapshot.addedDataFiles(table.io()), "removed": snapshot.removedDataFiles(table.io())}
        found = {what: [file.location() for file in files[what]] for what in files}
        self._forget(table, snapshot)
        return found

    def _forget(self, table: Any, snapshot: Any) -> None:
        """Delete the manifests of a snapshot that is never committed."""
        own = [m for m in snapshot.allManifests(table.io()) if m.snapshotId() == snapshot.snapshotId()]
        for location in (*(manifest.path() for manifest in own), snapshot.manifestListLocation()):
            with contextlib.suppress(Exception):  # orphan removal finds it
                table.io().deleteFile(location)

    def _within(self, hours_us: list[list[int]]) -> Any:
        """The condition that a row is of one of some ranges of time."""
        express = self._java.org.apache.iceberg.expressions.Expressions
        both, either = getattr(express, "and"), getattr(express, "or")
        condition = express.alwaysFalse()
        for start_us, end_us in hours_us:
            since = express.greaterThanOrEqual("timestamp", self._java.java.lang.Long.valueOf(start_us))
            until = express.lessThan("timestamp", self._java.java.lang.Long.valueOf(end_us))
            condition = either(condition, both(since, until))
        return condition

    def orphans(self, command: Document) -> Document:
        """The files under the table's location that no snapshot leads to and that are old enough; deletes none."""
        action = self._actions().deleteOrphanFiles(self._loaded()).olderThan(command["before_ms"])
        action = action.usePrefixListing(True).option("stream-results", "false")
        nobody = self._java.java.util.stream.Stream.builder()  # takes what it is given, and does nothing
        schemes = self._java.java.util.HashMap()
        schemes.put("s3n,s3a", "s3")
        found = action.equalSchemes(schemes).deleteWith(nobody).execute()
        return {"paths": list(found.orphanFileLocations())}

    def manifests(self, _: Document) -> Document:
        """Rewrite the manifests, again where an appender was first."""
        for number in range(1, TRIES + 1):
            try:
                done = self._actions().rewriteManifests(self._loaded()).execute()
            except Exception as error:
                if number == TRIES or not _is_conflict(error):
                    raise
                continue
            counts = len(list(done.rewrittenManifests())), len(list(done.addedManifests()))
            return {"before": counts[0], "after": counts[1], "tries": number}
        raise AssertionError("no try")

    def sql(self, command: Document) -> Document:
        """Run one query over the views, and tell its columns and its rows."""
        for view in command["views"]:
            self._view(view)
        # Of one query: a statement that changes something is no query for this parser.
        self.session._jsparkSession.sessionState().sqlParser().parseQuery(command["text"])
        frame = self.session.sql(command["text"])
        self._tell({"columns": json.loads(frame.schema.json())["fields"]})
        count = 0
        for rows in _chunks(frame.toLocalIterator(prefetchPartitions=True), command["limit"]):
            count += len(rows)
            self._tell({"rows": rows})
        return {"rows": count}

    def _view(self, view: Document) -> None:
        """Make a temporary view: of rows that are given, or of SQL."""
        if "rows" in view:
            frame = self.session.createDataFrame([tuple(row) for row in view["rows"]], schema=view["columns"])
        else:
            frame = self.session.sql(view["sql"])
        frame.createOrReplaceTempView(view["name"])

    def cancel(self) -> None:
        """End what runs, and the session."""
        with contextlib.suppress(Exception):
            self.session.sparkContext.cancelAllJobs()
        with contextlib.suppress(Exception):
            self.session.stop()


def _chunks(rows: Iterator[Any], limit: int | None) -> Iterator[list[list[Any]]]:
    chunk: list[list[Any]] = []
    for number, row in enumerate(rows):
        if limit is not None and number >= limit:
            break
        chunk.append([_plain(value) for value in row])
        if len(chunk) == ROWS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _plain(value: Any) -> Any:
    """A value as JSON has it: decimals and times as texts, which lose nothing."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return [[_plain(key), _plain(part)] for key, part in value.items()]
    return value if value is None or isinstance(value, bool | int | float | str) else value.isoformat()


def _line_of(error: Exception) -> str:
    """What went wrong, in one line: of a Java exception its last cause, without its stack."""
    cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while cause is not None and cause.getCause() is not None:
        cause = cause.getCause()
    text = str(cause.toString() if cause is not None else error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:500]


def _is_conflict(error: Exception) -> bool:
    return any(name in str(error) for name in ("CommitFailedException", "ValidationException"))


def main() -> None:
    """Read commands until the input ends."""
    pipe, lock = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8"), threading.Lock()

    def tell(document: Document) -> None:
        with lock:
            pipe.write(json.dumps(document) + "\n")
            pipe.flush()

    commands: queue.Queue[Document] = queue.Queue()
    started: list[Driver] = []

    def run() -> None:
        try:
            start = commands.get()
            started.append(Driver(start, tell))
            tell({"done": {"version": started[0].session.version}})
            while True:
                started[0].work(commands.get())
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            tell({"error": _line_of(error), "kind": type(error).__name__})

    threading.Thread(target=run, daemon=True).start()
    for line in sys.stdin:
        commands.put(json.loads(line))
    threading.Timer(END_WITHIN_S, os._exit, (1,)).start()
    if started:
        started[0].cancel()
    os._exit(0)


if __name__ == "__main__":
    main()

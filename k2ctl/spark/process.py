"""The driver as seen from k2ctl: a child process that gets commands, is watched, and ended with its JVM."""

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.spark.settings import SparkPlace, python_of_spark, require_java, start_of
from k2ctl.stack.processes import is_readable

PROGRAM: Final = Path(__file__).with_name("driver.py")
END_WITHIN_S: Final = 15.0
TICK_S: Final = 0.25

Document = dict[str, Any]
Say = Callable[[str], None]


class SparkError(K2Error):
    """Spark did not do what was asked."""

    def __init__(self, message: str, hint: str, answer: Document | None = None) -> None:
        super().__init__(message, hint)
        # The driver's own words, and the kind of the exception there.
        self.reason, self.kind = (answer or {}).get("error", ""), (answer or {}).get("kind", "")


class SparkProcess:
    """One session of Spark, from `with` to the end of the block. Not thread-safe.

    tick: called several times a second while Spark works; what it raises ends the session.
    """

    def __init__(
        self, endpoints: Endpoints, place: SparkPlace, location: str, say: Say, tick: Callable[[], None] = lambda: None
    ) -> None:
        require_java()
        self._start = start_of(endpoints, place, location)
        self._place, self._say, self._tick = place, say, tick
        # Kept where Spark has failed.
        self.log = endpoints.home.folder("logs") / f"spark-{uuid.uuid4().hex[:8]}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._lines: deque[bytes] = deque()
        self._rest = b""

    def __enter__(self) -> "SparkProcess":
        self._pipe, answers = os.pipe()
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    [python_of_spark(), "-I", str(PROGRAM), str(answers)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=[answers],
                    start_new_session=True,  # Ctrl-C is for us: we cancel what it does
                    env={**os.environ, "TZ": "UTC"},
                )
        except OSError as error:
            os.close(self._pipe)
            raise SparkError(f"{python_of_spark()} cannot be started: {error.strerror}", _INSTALL) from error
        finally:
            os.close(answers)
        try:
            found = self._ask(self._start, f"starting Spark at {self._place.master}")
        except BaseException:
            self.close()
            raise
        self._say(f"Spark {found['version']} at {self._place.master}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        if not isinstance(error, SparkError):
            self.log.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """The driver's process."""
        return self._running().pid

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise SparkError("The session of Spark is over.", _INSTALL)
        return self._process

    def ask(self, do: str, what: str, **named: Any) -> Document:
        """Have one thing done, and return what it gave. what: said while it lasts.

        Raises:
            SparkError: it failed, or the driver has ended. Whatever `tick` raises.
        """
        return self._ask({"do": do, **named}, what)

    def parts(self, do: str, what: str, **named: Any) -> Iterator[Document]:
        """Have one thing done that answers in parts. Raises: as `ask`, at each part."""
        for answer in self._answers_to({"do": do, **named}, what):
            if "done" in answer:
                return
            yield answer

    def _ask(self, command: Document, what: str) -> Document:
        found: Document = next(answer["done"] for answer in self._answers_to(command, what) if "done" in answer)
        return found

    def _answers_to(self, command: Document, what: str) -> Iterator[Document]:
        """All that the driver says to a command, the last of it what it gave."""
        self._say(what)
        self._send(command)
        while True:
            self._tick()
            answer = self._next()
            if answer is None:
                continue
            if "error" in answer:
                raise SparkError(f"Spark failed: {answer['error']}", f"Its log: {self.log}", answer)
            if "tasks" in answer:
                self._say(f"{what}: {answer['tasks']} of {answer['of']} tasks")
            else:
                yield answer

    def _send(self, command: Document) -> None:
        into = self._running().stdin
        try:
            if into is not None:
                into.write(json.dumps(command).encode() + b"\n")
                into.flush()
        except OSError as error:
            raise self._ended() from error

    def _next(self) -> Document | None:
        """The next line of the driver; None when it says nothing for a moment."""
        if not self._lines:
            if not is_readable(self._pipe, TICK_S):
                return None
            content = os.read(self._pipe, 1 << 20)
            if not content:
                raise self._ended()
            *lines, self._rest = (self._rest + content).split(b"\n")
            self._lines.extend(lines)
        if not self._lines:
            return None
        found: Document = json.loads(self._lines.popleft())
        return found

    def _ended(self) -> SparkError:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        if "No module named 'pyspark'" in text:
            return SparkError(f"PySpark is not installed for {python_of_spark()}.", _INSTALL)
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
        return SparkError(f"The driver of Spark has ended: {last[:300]}", f"Its log: {self.log}")

    def close(self) -> None:
        """Cancel what runs, and end the driver with its JVM."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            self._drain_until_ended(process)
        finally:
            with contextlib.suppress(ProcessLookupError):  # the JVM is in the driver's own group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(self._pipe)

    def _drain_until_ended(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end; what it still says is dropped, so that it never waits for a reader."""
        until_s = time.monotonic() + END_WITHIN_S
        while process.poll() is None and time.monotonic() < until_s:
            if is_readable(self._pipe, 0.05):
                os.read(self._pipe, 1 << 20)


_INSTALL: Final = "pip install 'k2ctl[spark]'"

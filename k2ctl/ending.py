"""How a command ends: the only place where an error becomes a line, a hint and an exit code.

Work with a limit of time and memory runs in a child process, which is killed at the limit. DuckDB checks its limits
between two vectors: one function call can run for minutes, and take gigabytes that DuckDB does not count, before that.
"""

import codecs
import errno
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import typer

from k2ctl.errors import ExitCode, K2Error, TooLarge, TooLong
from k2ctl.log import speaks_json
from k2ctl.signals import end_with

_WHERE: Final = "Where in the program: the same command as k2ctl --debug …"
_SIGNS: Final = {
    "×": "x",
    "→": "->",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "✓": "ok",
    "✗": "x",
    "–": "-",
    "−": "-",
    "µ": "u",
}
_DUCKDB_INTERRUPTED: Final = "Query interrupted"
"""What DuckDB makes of the KeyboardInterrupt that a signal's handler has raised while it ran a query."""

_SIGNS_HANDLER: Final = "k2ctl-signs"

GRACE_S: Final = 0.5
"""Time beyond the limit for work that ends by itself and reports why."""
_LOOK_EVERY_S: Final = 0.02
_SPARE_MB: Final = 128


def concluded(work: Callable[[], Any], program: str, *, debug: bool = False) -> int:
    """Do the work of one command and return its exit code; with `debug`, errors are raised unchanged."""
    try:
        code = _code_of(work)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # The reader of our output has ended (`k2ctl … | head`): as in other programs, that is not reported.
        _drop_output()
        return ExitCode.READER_GONE
    except Exception as error:
        if debug:
            raise
        return _reported(error, program)
    except KeyboardInterrupt as interrupted:
        if isinstance(interrupted.__cause__, BrokenPipeError):
            _drop_output()
        return _report("Interrupted.", "", ExitCode.INTERRUPTED)
    return code


def _code_of(work: Callable[[], Any]) -> int:
    try:
        result = work()
    except typer.Exit as ended:
        return ended.exit_code
    return int(result) if isinstance(result, int) else ExitCode.OK


def _reported(error: Exception, program: str) -> int:
    if isinstance(error, K2Error):
        return _report(str(error), error.hint, error.exit_code)
    if isinstance(error, typer.Abort):
        return _report("Interrupted.", "", ExitCode.INTERRUPTED)
    if isinstance(error, RuntimeError) and str(error) == _DUCKDB_INTERRUPTED:
        return _report("Interrupted.", "", ExitCode.INTERRUPTED)
    if isinstance(error, UnicodeEncodeError):
        return _report("What was typed is not valid UTF-8.", "Type it in UTF-8, or see: locale", ExitCode.USAGE)
    if isinstance(error, OSError):
        _drop_output()
        # A full disk, a folder that is not there, a file that may not be written.
        if error.errno == errno.EBADF and not error.filename:
            return _report("stdout is closed, so nothing could be written.", "Leave it open: > FILE", ExitCode.FAILED)
        where = f"{error.filename}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}.", _WHERE, ExitCode.FAILED)
    shown = getattr(error, "format_message", None)
    if shown is None:
        raise error
    if shown().startswith("Usage:"):
        sys.stderr.write(shown() + "\n")
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    return _report(shown(), f"See: {getattr(context, 'command_path', program)} --help", ExitCode.USAGE)


def _report(message: str, hint: str, code: ExitCode) -> int:
    from k2ctl.console import err

    if speaks_json():
        logging.getLogger("k2ctl").error(message, extra={"hint": hint})
        return code
    try:
        # A terminal breaks lines by itself; a path broken by us could not be copied.
        err().print(f"k2ctl: {message}", style="red", soft_wrap=True)
        if hint:
            err().print(f"  {hint}", soft_wrap=True)
    except BrokenPipeError:
        _drop_output()
    return code


def _drop_output() -> None:
    """What is still to be written goes nowhere, so that Python does not complain of it at its end."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(nowhere.fileno(), stream.fileno())


def last_words(work: Callable[[], int]) -> int:
    """Do the work of a process that ends after it; returns its exit code. Errors are printed, output is flushed."""
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
        code = ExitCode.FAILED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = ExitCode.READER_GONE
    return code


def accept_any_text() -> None:
    """Let stdout and stderr take any text: characters that their encoding lacks are replaced by similar ones."""
    codecs.register_error(_SIGNS_HANDLER, _spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us: messages go nowhere, data that cannot be written is an error
            nowhere = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_WRONLY)
            setattr(sys, name, open(nowhere, "w"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_SIGNS_HANDLER)


def in_utf8() -> None:
    """Restart in UTF-8 where the locale knows only ASCII, for arguments, file names and file contents.

    Python does so by itself in the locale C, unless PYTHONUTF8 forbids it.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """The replacement of one character; bytes of a file name that are not UTF-8 stay as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return _SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode(), error.start + 1


@dataclass(frozen=True)
class Bounds:
    """The limits of work, counted from its beginning."""

    seconds: float
    # Beyond the memory that the process has when the work begins.
    memory_mb: int
    # A file that is deleted if the work is killed while it writes it.
    leaves: Path | None = None


Begun = Callable[[], None]
"""The work calls it when its preparations are done; time and memory count from then on."""


def bounded(work: Callable[[Begun], None], bounds: Bounds, program: str) -> None:
    """Do the work in a child process, and end with its exit code.

    If this process has other threads, a child could deadlock on their locks. Then the work is done in this process, and
    only the limits hold that the work checks itself.

    Raises:
        K2Error: it took too long or too much memory. typer.Exit: the child's exit code is not 0.
    """
    if _threads() > 1:
        work(lambda: None)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    reading_end, writing_end = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.close(reading_end)
        end_with(parent)
        os._exit(
            last_words(
                lambda: concluded(lambda: work(lambda: _write(writing_end)), program, debug="--debug" in sys.argv)
            )
        )
    os.close(writing_end)
    try:
        code = _Watched(child, reading_end, bounds).wait()
    finally:
        os.close(reading_end)
    if code:
        raise typer.Exit(code)


def _write(writing_end: int) -> None:
    os.write(writing_end, b".")


class _Watched:
    """A child process within its bounds."""

    def __init__(self, child: int, reading_end: int, bounds: Bounds) -> None:
        self._child = child
        # A pipe that gets one byte when the work begins, and closes when the child ends.
        self._reading_end = reading_end
        self._bounds = bounds

    def wait(self) -> int:
        """The child's exit code."""
        try:
            if not self._ends_within(None):
                begun_s, held = time.monotonic(), _resident_mb(self._child)
                while not self._ends_within(_LOOK_EVERY_S):
                    if time.monotonic() - begun_s > self._bounds.seconds + GRACE_S:
                        raise TooLong
                    if _resident_mb(self._child) - held > self._bounds.memory_mb + _SPARE_MB:
                        raise TooLarge
        except KeyboardInterrupt:
            # On a terminal the child gets the signal too, and reports it itself.
            if not self._ends_within(GRACE_S):
                os.kill(self._child, signal.SIGINT)
            if not self._ends_within(GRACE_S):
                self._kill()
                raise
        except K2Error:
            self._kill()
            raise
        return self._code(os.waitpid(self._child, 0)[1])

    def _ends_within(self, seconds: float | None) -> bool:
        """Wait until the child has ended; without a limit, until it has begun or ended."""
        ready, _, _ = select.select([self._reading_end], [], [], seconds)
        return bool(ready) and not os.read(self._reading_end, 1)

    def _code(self, status: int) -> int:
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            self._clear()
            raise K2Error(
                f"The query's process was ended by {signal.Signals(-code).name}.",
                "The machine may be short of memory: a smaller --memory-mb, or a query that holds less.",
            )
        return code

    def _kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._clear()

    def _clear(self) -> None:
        if self._bounds.leaves is not None:
            self._bounds.leaves.unlink(missing_ok=True)


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def _resident_mb(process: int) -> float:
    """Memory of a process; 0 where the system does not show it, or the process has just ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0

"""How a command begins and ends: the only place where an error becomes a line, a hint and an exit code."""

import codecs
import errno
import gc
import logging
import os
import select
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any, Final

import typer

from k2ctl.errors import ExitCode, K2Error
from k2ctl.garbage import collect_rarely
from k2ctl.log import speaks_json

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
    if isinstance(error, SystemError) and isinstance(error.__cause__, KeyboardInterrupt):
        # A signal's handler raised within a function of C that does not look, such as librdkafka's end of a client.
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
    return _report(
        _in_our_words(error, shown()), f"See: {getattr(context, 'command_path', program)} --help", ExitCode.USAGE
    )


def _in_our_words(error: Any, shown: str) -> str:
    """What is wrong with an option. Typer passes on what pydantic says of a value."""
    near = getattr(error, "possibilities", None)
    if near:
        return f"No such option: {error.option_name}. Did you mean {', '.join(sorted(near))}?"
    if hasattr(error.__cause__, "errors"):
        from k2ctl.mistakes import said

        mistake = error.__cause__.errors()[0]
        what, got = said(mistake).rstrip("."), str(mistake["input"])[:40]
        return shown.replace(error.message, f"{what}." if got in what else f"{what} (got {got}).")
    return shown


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


def require_reader() -> None:
    """For a command that may write nothing for a long time: whoever reads its output may be gone meanwhile.

    Raises:
        BrokenPipeError: so it is.
    """
    try:
        looked = select.poll()
        looked.register(sys.stdout.fileno(), 0)
        is_gone = any(event & select.POLLERR for _, event in looked.poll(0))
    except (OSError, ValueError):  # no file, or closed
        return
    if is_gone:
        raise BrokenPipeError


def last_words(work: Callable[[], int]) -> int:
    """Do the work of a process that ends after it; returns its exit code. Errors are printed, output is flushed."""
    try:
        code = work()
    except BaseException:
        import traceback

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


def begin_quickly() -> None:
    """For a process of ours: no look for garbage in what it imports, and no question to installed packages."""
    collect_rarely()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it asks every installed package for one


def end_quickly() -> None:
    """At the end of a process: its memory goes with it, so that nothing has to look for garbage there."""
    gc.freeze()


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

"""The log: decisions and survived errors, under `k2ctl.<room>`, to stderr; in the background, to a file that rotates.

A room takes its logger with `logging.getLogger("k2ctl.<room>")`. What `extra` names becomes `key=value` in text and a
member in JSON: `logger.info("committed", extra={"rows": 5})`. No code logs per trade.
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

HELD_LINES: Final = 200
"""How many lines wait at most while a display has the whole screen."""

FILE_VARIABLE: Final = "K2CTL_LOG_FILE"
LEVEL_VARIABLE: Final = "K2CTL_LOG_LEVEL"
FORMAT_VARIABLE: Final = "K2CTL_LOG_FORMAT"

_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_CONTROL_CHARACTERS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}


class LogLevel(StrEnum):
    """What `--log-level` takes."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """What `--log-format` takes."""

    TEXT = "text"
    JSON = "json"


class TextFormatter(logging.Formatter):
    """One line: time in UTC, level, logger, message, fields. Control characters are escaped, a traceback follows."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return (super().formatMessage(record) + fields).translate(_CONTROL_CHARACTERS)


class JsonFormatter(logging.Formatter):
    """One JSON object on one line: `time`, `level`, `logger`, `message`, the fields, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        line: dict[str, Any] = {
            "time": TextFormatter().formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(
            line | {name: value for name, value in _fields(record).items() if name not in line}, default=str
        )


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is now: a live display replaces it, and shows the lines above itself."""

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if self._held is not None:
                self._held.append(line)
            elif sys.stderr is not None:
                sys.stderr.write(line + "\n")
        except Exception:
            self.handleError(record)

    @contextmanager
    def held(self) -> Iterator[Collection[str]]:
        """Keep the newest lines while the block runs, and write them at its end; yields them."""
        self._held = deque(maxlen=HELD_LINES)
        try:
            yield self._held
        finally:
            lines, self._held = self._held, None
            sys.stderr.writelines(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class LogSettings:
    """How a process logs."""

    # None: WARNING here, and INFO in the programs that this process starts in the background.
    level: LogLevel | None = None
    form: LogFormat = LogFormat.TEXT


_settings = LogSettings()
_handler: logging.Handler | None = None


def configure(settings: LogSettings) -> None:
    """Send the log of this process to the file that `K2CTL_LOG_FILE` names, else to stderr.

    Replaces what an earlier call configured. Libraries are logged from WARNING on.

    Raises:
        OSError: the file cannot be opened.
    """
    global _settings, _handler
    _settings, before = settings, _handler
    path = os.environ.get(FILE_VARIABLE)
    _handler = _to_file(path) if path else StderrHandler()
    _handler.setFormatter(JsonFormatter() if settings.form is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    if before is not None:
        root.removeHandler(before)
        before.close()
    root.addHandler(_handler)
    logging.getLogger("k2ctl").setLevel(settings.level or LogLevel.WARNING)


def _to_file(path: str) -> logging.Handler:
    from k2ctl.log_file import FileHandler  # what rotates is imported only in the background

    return FileHandler(Path(path))


def configure_from_environment() -> None:
    """For a program without options of its own.

    Raises:
        OSError: the file cannot be opened. ValueError: a variable names no level or format.
    """
    level = os.environ.get(LEVEL_VARIABLE)
    form = LogFormat(os.environ.get(FORMAT_VARIABLE, LogFormat.TEXT).lower())
    configure(LogSettings(LogLevel(level.upper()) if level else None, form))


def configured() -> LogSettings:
    """The settings of this process, for a child that logs as it does."""
    return _settings


def background_environment(path: Path) -> dict[str, str]:
    """The environment of a program in the background that logs to `path`, at this process's level or at INFO."""
    return {
        **os.environ,
        LEVEL_VARIABLE: _settings.level or LogLevel.INFO,
        FORMAT_VARIABLE: _settings.form,
        FILE_VARIABLE: str(path),
    }


def is_detailed() -> bool:
    """True if this process logs at INFO or below: then the log says what happens, and status lines can be rare."""
    return logging.getLogger("k2ctl").isEnabledFor(logging.INFO)


def speaks_json() -> bool:
    """True if this process logs in JSON at INFO or below: then what it says to people is a record too, for programs."""
    return _settings.form is LogFormat.JSON and is_detailed()


@contextmanager
def held_while_on_screen() -> Iterator[Collection[str]]:
    """Keep lines for stderr while a display has the whole screen; they are written when it is gone. Yields them."""
    handler = next((one for one in logging.getLogger().handlers if isinstance(one, StderrHandler)), None)
    if handler is None:
        yield ()
        return
    with handler.held() as lines:
        yield lines

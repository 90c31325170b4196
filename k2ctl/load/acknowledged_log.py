"""What a load has sent and Kafka has acknowledged, written down so that `k2ctl verify` can hold the table to it.

A file per run and worker. It says, per session (the first half of a message id: one symbol of one run, or one trade of
a replay, whose ids are digests), which numbers were sent, as intervals with the checksum of their trades, and how many
copies and trades out of order were sent on purpose. Deliveries that failed are listed one by one: Kafka may hold them
or not.

A running load replaces its file every second, later every sixtieth of its time, so that one that is killed leaves what
it had sent until then, marked as unfinished, and a lower bound of what was acknowledged. 40 bytes a thousand trades; 96
bytes a trade of a replay.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.checked_file import body_of, frame_header
from k2ctl.domain.checksums import LABEL
from k2ctl.domain.trade import TRADE
from k2ctl.errors import CheckFailed
from k2ctl.home import ACKNOWLEDGED, Home
from k2ctl.load.sent_intervals import INTERVAL, joined

SUFFIX: Final = ".log"
MAGIC: Final = b"K2ACKLG4"

SENT: Final = np.dtype([("session", "u8"), ("symbol", TRADE.message["symbol"]), ("copies", "u8"), ("backwards", "u8")])
"""A session: its symbol, copies sent on purpose, and how often a number was sent after a higher one."""

FAILED: Final = np.dtype([("session", "u8"), ("number", "u8"), ("sum", "u8"), ("times", "u8")])


@dataclass(frozen=True)
class Run:
    """What one worker of a load says of itself. Counts are trades."""

    run_id: str
    worker: int
    topic: str
    epoch: str
    wire_format: str
    started_at_us: int
    sent: int
    # Exactly, once finished; before that at least so many.
    acknowledged: int
    finished: bool
    # Trades of a replay that are counted, and nothing else is written down of them.
    unrecorded: int = 0


@dataclass(frozen=True)
class AcknowledgedLog:
    """One file."""

    run: Run
    # dtype SENT
    sessions: np.ndarray
    # dtype INTERVAL
    intervals: np.ndarray
    # dtype FAILED: deliveries of which Kafka did not say that it has them
    failed: np.ndarray

    @property
    def holes(self) -> int:
        """Trades that were numbered and not sent, each between two of its session that were."""
        ordered = joined(self.intervals)
        same = ordered["session"][1:] == ordered["session"][:-1]
        return int((ordered["low"][1:] - ordered["high"][:-1] - np.uint64(1))[same].sum())


def write(path: Path, log: AcknowledgedLog, *, durable: bool) -> None:
    """Replace a file in one step. durable: also against a loss of power.

    One checked frame: a line of JSON, and the bytes of the three arrays.
    """
    arrays = (log.sessions, log.intervals, log.failed)
    description = {"label": LABEL, "run": asdict(log.run), "lengths": [len(array) for array in arrays]}
    parts = [json.dumps(description).encode() + b"\n", *(array.tobytes() for array in arrays)]
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb") as file:
            file.writelines([frame_header(MAGIC, *parts), *parts])
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk its half would take room
        raise


def read(path: Path) -> AcknowledgedLog:
    """One file.

    Raises:
        CheckFailed: it is damaged, or was written by another version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    try:
        body = body_of(MAGIC, content)
    except ValueError as error:
        other = "" if content.startswith(MAGIC) else ", or was written by another version of k2ctl"
        raise _unreadable(path, f"is damaged{other}") from error
    first, _, _ = bytes(body).partition(b"\n")
    description, at = json.loads(first), len(first) + 1
    if description["label"] != LABEL:
        raise _unreadable(path, "was written by another version of k2ctl, whose checksums are others")
    arrays = []
    for kind, length in zip((SENT, INTERVAL, FAILED), description["lengths"], strict=True):
        arrays.append(np.frombuffer(body, kind, length, at))
        at += length * kind.itemsize
    return AcknowledgedLog(Run(**description["run"]), *arrays)


def _unreadable(path: Path, why: str) -> CheckFailed:
    return CheckFailed(f"What a load wrote down {why}: {path}", f"Its load cannot be verified then: rm '{path}'")


def acknowledged_log_dir(home: Home) -> Path:
    """Where loads write down what Kafka acknowledged; made when missing."""
    return home.folder(ACKNOWLEDGED)


def recorded(home: Home) -> Iterator[AcknowledgedLog]:
    """What all loads of this state directory wrote down, oldest first."""
    for path in sorted(acknowledged_log_dir(home).glob(f"*{SUFFIX}")):
        yield read(path)

"""What every peer is to a test: a table of its own, and a command that fills it from a topic."""

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers.peer_table import SeenTable, Where, make_table
from tests.peers.plain_kafka import PlainKafka
from tests.peers.process_tree import ProcessTree
from tests.peers.records import FORMS, Form

JOBS: Final = Path(__file__).parent / "jobs"
READY: Final = re.compile(r"PEER-READY (\d+\.\d+)")
"""What the jobs print when they begin to read, with the time."""


@dataclass(frozen=True)
class Source:
    """A topic on the Kafka of a run."""

    kafka: PlainKafka
    topic: str
    # Of k2ctl, which made the records of the topic.
    profile: Path
    # What gives Avro's schemas; empty where no peer needs one.
    registry: str = ""


class Peer(ABC):
    """One way to bring a topic into a table. Its name says the form of the records: `connect-avro`."""

    def __init__(self, name: str, form: Form, folder: Path, source: Source) -> None:
        self.name, self.form, self.folder, self.source = name, form, folder, source
        self._starts = 0
        folder.mkdir(parents=True)
        self.where = self.prepare()

    def prepare(self) -> Where:
        """Write its settings and make its table."""
        return make_table(self.folder)

    @abstractmethod
    def command(self, *, drain: bool) -> tuple[Sequence[str], Mapping[str, str]]:
        """What starts it, and in which environment. drain: it ends by itself after a backlog, if it can."""

    @property
    def drains(self) -> bool:
        """Whether it ends by itself after a backlog."""
        return True

    def start(self, *, drain: bool) -> ProcessTree:
        """Start it, with a log of its own."""
        self._starts += 1
        command, environment = self.command(drain=drain)
        return ProcessTree(command, self.folder / f"log-{self._starts}.txt", environment)

    def end(self, tree: ProcessTree) -> None:
        """End it as its users do."""
        tree.end(signal.SIGTERM)

    def ready_s(self, tree: ProcessTree) -> float | None:
        """Seconds from its start until it began to read, by its own log."""
        found = READY.search(tree.text())
        return float(found[1]) - tree.started_s if found else None

    def broken(self, tree: ProcessTree) -> str:
        """Why it will never go on although its process lives; empty where nothing is known."""
        return ""

    def seen(self, *, with_files: bool = False) -> SeenTable:
        """Its table from outside."""
        return SeenTable(self.where, with_files=with_files)


def form_of(name: str) -> Form:
    """Of the records that a peer reads: the longest form that its name has, else JSON."""
    names = [form for form in FORMS if f"-{form}-" in f"-{name}-"]
    return FORMS[max(names, key=len, default="json")]

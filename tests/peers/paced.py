"""What the tests of latency and of crashes share: a peer that has stored its first rows, and a paced load beside it."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.peers.bench import Bench
from tests.peers.peer import Peer, Source, form_of
from tests.peers.peer_table import SeenTable
from tests.peers.process_tree import ProcessTree
from tests.peers.sending import Sender, Sent

FIRST: Final = 400
"""Rows that are stored before anything is measured."""

_FIRST_WITHIN_S: Final = 180.0
_ROOT: Final = str(Path(__file__).parents[2])


class NeverStored(Exception):
    """A peer did not store even its first rows."""


@dataclass
class Warm:
    """A peer at work."""

    peer: Peer
    source: Source
    seen: SeenTable
    tree: ProcessTree
    first: Sent
    # From the start of its process to its first rows.
    ready_s: float


def warmed(bench: Bench, test: str, name: str, *, with_files: bool = False) -> Warm:
    """Start a peer on a new topic with a few trades, and wait until it has stored them.

    Raises:
        NeverStored: it does not.
    """
    form = form_of(name)
    source = bench.source(form)
    peer = bench.peer(test, name, source)
    seen = peer.seen(with_files=with_files)
    tree = peer.start(drain=False)
    sender = Sender(bench.kafka.address, source.topic, source.profile, form)
    sender.send(FIRST, now=True)
    first = sender.finish()
    limit_s = time.time() + _FIRST_WITHIN_S
    while seen.look() < FIRST:
        if time.time() > limit_s or not tree.is_alive() or peer.broken(tree):
            peer.end(tree)
            raise NeverStored(f"{peer.broken(tree) or 'not even the first rows came'}; see {tree.log}")
        time.sleep(0.1)
    return Warm(peer, source, seen, tree, first, time.time() - tree.started_s)


class PacedLoad:
    """A load in a process of its own."""

    def __init__(self, warm: Warm, rate: int, seconds: int) -> None:
        self._log = warm.peer.folder / "load.txt"
        source = warm.source
        what = [source.kafka.address, source.topic, str(source.profile), warm.peer.form.name, str(rate), str(seconds)]
        self.tree = ProcessTree([sys.executable, "-m", "tests.peers.sending", *what], self._log, {"PYTHONPATH": _ROOT})

    def said(self) -> dict[str, Any]:
        """Its last line, once it has ended."""
        while self.tree.is_alive():
            time.sleep(0.1)
        last: dict[str, Any] = json.loads(self._log.read_text().strip().splitlines()[-1])
        return last

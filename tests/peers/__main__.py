"""`python -m tests.peers N PEERS [TESTS]`: one JSON line per figure on stdout; a peer that fails stops no other."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from k2ctl import __version__
from tests.peers.bench import PEERS, Bench
from tests.peers.crash import crash
from tests.peers.drain import drain
from tests.peers.latency import latency
from tests.peers.process_tree import end_all
from tests.peers.settings import SETTINGS, emit, say

TESTS: Final[dict[str, Callable[[Bench, str, int], None]]] = {"drain": drain, "latency": latency, "crash": crash}
TOOLS: Final = "kafka-tools"


def main() -> int:
    """0 when all that was asked for was measured, 1 when a peer failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers")
    parser.add_argument("n", type=lambda text: int(text.replace("_", "").replace(",", "")), help="trades of a backlog")
    parser.add_argument("peers", help=",".join([*PEERS, TOOLS]))
    parser.add_argument("tests", nargs="?", default="drain", help=",".join(TESTS))
    given = parser.parse_args()
    peers, tests = given.peers.split(","), given.tests.split(",")
    if unknown := (set(peers) - {*PEERS, TOOLS}) | (set(tests) - set(TESTS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    folder = Path(tempfile.mkdtemp(prefix="k2ctl-peers-"))
    say(f"settings and logs of this run are in {folder}; they stay if a peer fails")
    result = 130
    try:
        result = _measured(folder, given.n, peers, tests)
    except KeyboardInterrupt:
        say("interrupted; what was started is ended")
    finally:
        end_all()
        if not SETTINGS.keep:
            for data in (folder / "kafka", *folder.glob("*/warehouse"), *([] if result else [folder])):
                shutil.rmtree(data, ignore_errors=True)
    return result


def _stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _measured(folder: Path, count: int, peers: list[str], tests: list[str]) -> int:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    machine = {"cores": os.cpu_count(), "k2ctl": __version__, "commit_ms": SETTINGS.commit_ms, "at": moment}
    emit("machine", "", "load_average", round(os.getloadavg()[0], 2), **machine)
    bench, failed = Bench(folder), False
    try:
        for test in tests:
            for name in peers:
                if name == TOOLS:
                    continue
                say(f"{test}: {name}")
                try:
                    TESTS[test](bench, name, count)
                except Exception as error:  # the others go on
                    failed = True
                    traceback.print_exc()
                    emit(test, name, "failed", None, why=f"{type(error).__name__}: {error}"[:600])
        if TOOLS in peers:
            for what, rate in bench.tools(count).items():
                emit("tools", what, "rows_per_s", rate and round(rate), "rows/s", n=count)
    finally:
        bench.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

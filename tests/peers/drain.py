"""A backlog into the table: rows a second, processor seconds a million, peak memory, and whether it is exactly once."""

import time
from typing import Any, Final

from tests.peers.bench import Bench
from tests.peers.peer import Peer, form_of
from tests.peers.peer_table import SeenTable
from tests.peers.process_tree import ProcessTree
from tests.peers.sending import Sent
from tests.peers.settings import SETTINGS, emit

_LOOKED_EVERY_S: Final = 0.25
_END_S: Final = 120.0
_MILLION: Final = 1_000_000
_MIB: Final = 1 << 20


def drain(bench: Bench, name: str, count: int) -> None:
    """Time counts from the start of the process to the snapshot that has all rows."""
    form = form_of(name)
    source, sent = bench.backlog(form, count)
    peer = bench.peer("drain", name, source)
    seen, kafka_cpu_s = peer.seen(), bench.kafka.tree.look()
    tree = peer.start(drain=True)
    why = _wait(peer, tree, seen, count)
    cpu_s, kafka_cpu_s = tree.look(), bench.kafka.tree.look() - kafka_cpu_s
    if peer.drains and not why:
        _let_end(tree)
        cpu_s = tree.cpu_s
    else:
        # What a worker still does after that is not counted; late copies of rows would come now.
        time.sleep(max(2.0, 2 * SETTINGS.commit_ms / 1000))
    rows = seen.look()
    peer.end(tree)
    more = {"n": count, "form": form.name}
    if why:
        emit("drain", name, "failed", rows, "rows", why=why, log=str(tree.log), **more)
        return
    _emit_speed(name, peer, tree, seen, count, more)
    for figure, seconds in (("cpu_s_per_million", cpu_s), ("kafka_cpu_s_per_million", kafka_cpu_s)):
        emit("drain", name, figure, round(seconds * _MILLION / count, 2), "s", **more)
    emit("drain", name, "peak_rss", round(tree.peak_bytes / _MIB), "MiB", **more)
    _emit_table(name, seen, sent, more)


def _wait(peer: Peer, tree: ProcessTree, seen: SeenTable, count: int) -> str:
    """Until the table has all rows; returns why it never will, or an empty text."""
    limit_s = time.time() + SETTINGS.drain_limit_s
    while seen.look() < count:
        if not tree.is_alive():
            return "" if seen.look() >= count else f"ended with {tree.exit_code}: {tree.text()[-600:]}"
        if time.time() > limit_s:
            return f"not done in {SETTINGS.drain_limit_s} s"
        why = peer.broken(tree)
        if why:
            return why
        time.sleep(_LOOKED_EVERY_S)
    return ""


def _let_end(tree: ProcessTree) -> None:
    limit_s = time.time() + _END_S
    while tree.is_alive() and time.time() < limit_s:
        time.sleep(0.05)


def _emit_speed(name: str, peer: Peer, tree: ProcessTree, seen: SeenTable, count: int, more: dict[str, Any]) -> None:
    took_s = (seen.committed_s(count) or time.time()) - tree.started_s
    emit("drain", name, "rows_per_s", round(count / took_s), "rows/s", seconds=round(took_s, 2), **more)
    ready_s = peer.ready_s(tree)
    if ready_s is not None:
        rate = round(count / max(1e-3, took_s - ready_s))
        emit("drain", name, "rows_per_s_without_startup", rate, "rows/s", startup_s=round(ready_s, 2), **more)
    points = sorted((at, rows) for at, rows in seen.rows_at_s if rows)
    if len(points) > 1 and points[-1][0] > points[0][0]:
        rate = round((points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0]))
        emit("drain", name, "rows_per_s_between_commits", rate, "rows/s", commits=len(points), **more)


def _emit_table(name: str, seen: SeenTable, sent: Sent, more: dict[str, Any]) -> None:
    found = seen.compared(sent)
    files, size = seen.size()
    each = round(size / max(1, found["rows"]), 1)
    emit("drain", name, "data_files", files, "files", bytes_per_row=each, snapshots=len(seen.first_seen_s), **more)
    is_exact = found["rows"] == found["distinct"] == found["sent"] and found["content_equal"]
    emit("drain", name, "exactly_once", is_exact, **found, **more)

"""From the moment a trade is sent until its row is visible in the table, at a steady rate."""

import time
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.peers.bench import Bench
from tests.peers.paced import FIRST, PacedLoad, warmed
from tests.peers.peer_table import SeenTable
from tests.peers.settings import SETTINGS, emit

_LOOKED_EVERY_S: Final = 0.05
_SHOWN: Final = (50, 95, 99, 100)


def latency(bench: Bench, name: str, _: int) -> None:
    """Of each row: first sight of the snapshot that added its file, less the time of sending.

    Up to 50 ms and a look at the catalog are in each figure, of every peer alike.
    """
    warm = warmed(bench, "latency", name, with_files=True)
    cpu_s = warm.tree.look()
    load = PacedLoad(warm, SETTINGS.latency_rate, SETTINGS.latency_s)
    while load.tree.is_alive():
        warm.seen.look()
        time.sleep(_LOOKED_EVERY_S)
    said = load.said()
    sent, limit_s = said["sent"]["trades"], time.time() + 60
    while warm.seen.look() < FIRST + sent and time.time() < limit_s:
        time.sleep(_LOOKED_EVERY_S)
    cpu_s = warm.tree.look() - cpu_s
    warm.peer.end(warm.tree)
    more: dict[str, Any] = {"rate": SETTINGS.latency_rate, "duration_s": SETTINGS.latency_s}
    waits_s = _waits_s(warm.seen, said["from_us"])
    if len(waits_s):
        shown = zip(_SHOWN, np.percentile(waits_s, _SHOWN).tolist(), strict=True)
        for share, seconds in shown:
            of = {"rows": len(waits_s), "of": sent, "load_late_s": round(said["late_s"], 3)}
            emit("latency", name, f"produce_to_visible_p{share}", round(seconds, 3), "s", **of, **more)
    else:
        emit("latency", name, "failed", 0, "rows", why="no file of a snapshot was found", **more)
    emit("latency", name, "start_to_first_rows", round(warm.ready_s, 2), "s", **more)
    emit("latency", name, "cores", round(cpu_s / SETTINGS.latency_s, 3), "cores", cpu_s=round(cpu_s, 2), **more)
    files, _ = warm.seen.size()
    emit("latency", name, "data_files", files, "files", snapshots=len(warm.seen.first_seen_s), **more)


def _waits_s(seen: SeenTable, from_us: int) -> np.ndarray:
    """float64[n] of the rows that were sent since then."""
    waits = [np.zeros(0)]
    for snapshot, paths in seen.files_of.items():
        for path in paths:
            local = path.removeprefix("file://").removeprefix("file:")
            sent = pq.read_table(local, columns=["ingestion_timestamp"], partitioning=None)["ingestion_timestamp"]
            at_us = sent.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
            waits.append(seen.first_seen_s[snapshot] - at_us[at_us >= from_us] / 1e6)
    return np.concatenate(waits)

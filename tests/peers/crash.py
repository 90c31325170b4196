"""kill -9 of a whole peer in the middle of its work, again and again: what is lost, and what is there twice."""

import random
import signal
import time
from typing import Final

from tests.peers.bench import Bench
from tests.peers.paced import FIRST, PacedLoad, Warm, warmed
from tests.peers.sending import Sent
from tests.peers.settings import SETTINGS, emit, say

_LONGEST_S: Final = 3600
_PATIENCE_S: Final = 120.0
_RESTARTS: Final = 5


class Stuck(Exception):
    """No row came any more."""


def crash(bench: Bench, name: str, _: int) -> None:
    """A paced load until it is over; each kill comes 2 to 5 s after rows were seen to come."""
    warm = warmed(bench, "crash", name)
    load = PacedLoad(warm, SETTINGS.crash_rate, _LONGEST_S)
    dice, back_s, stuck = random.Random(7202), list[float](), ""
    try:
        _await_rows(warm, FIRST)
        for number in range(SETTINGS.kills):
            time.sleep(dice.uniform(2.0, 5.0))
            warm.tree.end(signal.SIGKILL)
            before, killed_s = warm.seen.look(), time.time()
            say(f"{name}: kill {number + 1} with {before:,} rows in the table")
            warm.tree = warm.peer.start(drain=False)
            _await_rows(warm, before)
            back_s.append(round(time.time() - killed_s, 1))
    except Stuck as error:
        stuck = str(error)
    time.sleep(3)
    load.tree.tell(signal.SIGTERM)
    counted = load.said()["sent"]
    sent = Sent(**{field: counted[field] + getattr(warm.first, field) for field in counted})
    _settle(warm, sent.trades)
    warm.peer.end(warm.tree)
    found = warm.seen.compared(sent)
    more = {"kills": SETTINGS.kills, "sent": sent.trades, "stuck": stuck}
    emit("crash", name, "lost", sent.trades - found["distinct"], "rows", **more)
    emit("crash", name, "duplicated", found["rows"] - found["distinct"], "rows", **{**found, **more})
    emit("crash", name, "seconds_to_next_rows", back_s, "s", **more)


def _await_rows(warm: Warm, before: int) -> None:
    """Until the table has more rows; a peer that ends by itself is started again.

    Raises:
        Stuck: none came.
    """
    limit_s, restarts = time.time() + SETTINGS.settle_s + _PATIENCE_S, 0
    while warm.seen.look() <= before:
        if time.time() > limit_s:
            raise Stuck("no new row came")
        if not warm.tree.is_alive() or warm.peer.broken(warm.tree):
            restarts += 1
            if restarts > _RESTARTS:
                raise Stuck(f"it ended by itself again and again; see {warm.tree.log}")
            warm.tree.end(signal.SIGKILL)
            warm.tree = warm.peer.start(drain=False)
        time.sleep(0.1)


def _settle(warm: Warm, sent: int) -> None:
    """Until all rows are there and none has come for a while, or none comes any more."""
    rows, changed_s = -1, time.time()
    while warm.tree.is_alive() and time.time() - changed_s < SETTINGS.settle_s:
        now = warm.seen.look()
        if now != rows:
            rows, changed_s = now, time.time()
        if rows >= sent and time.time() - changed_s > max(5.0, 4 * SETTINGS.commit_ms / 1000):
            return
        time.sleep(0.2)

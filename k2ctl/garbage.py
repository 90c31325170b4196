"""Collections of cyclic garbage. A full one goes over all that was imported: 0.13 s of the processor, in the middle of
whatever is under way, which is ten seconds on a machine with twenty busy programs."""

import gc
from typing import Final

RARELY: Final = (50_000, 20, 100)
_USUAL: Final = gc.get_threshold()


def collect_rarely() -> None:
    """For a process that has just begun: what it imports is no garbage. A command of seconds has no full collection."""
    gc.set_threshold(*RARELY)


def spare_what_is_there() -> None:
    """For work that goes on: collect as usual, but look no more through what was imported and opened by now.

    And not while a batch of Kafka's messages is taken in: Python would look some fifty times through 30,000 of them.
    """
    gc.freeze()
    gc.set_threshold(RARELY[0], *_USUAL[1:])

"""How much each benchmark does: enough to be trusted, quick for a look, full for the README."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Sizes:
    """Trades, ids, rows and runs.

    queries: windows asked for. query_rate: trades a second that arrive meanwhile, query_frame of them in a record.
    """

    produce: int = 1_000_000
    produce_framed: int = 4_000_000
    log: int = 2_000_000
    drain: int = 1_500_000
    drain_framed: int = 3_000_000
    naive: int = 300_000
    commits: int = 1_000
    dedup: int = 1_000_000
    query_rows: int = 2_000_000
    query_rate: int = 20_000
    query_frame: int = 1
    queries: int = 400
    repeat: int = 3
    warm_ups: int = 1


NORMAL: Final = Sizes()
QUICK: Final = Sizes(
    produce=300_000,
    produce_framed=1_000_000,
    log=1_000_000,
    drain=400_000,
    drain_framed=800_000,
    naive=200_000,
    commits=200,
    query_rows=300_000,
    query_rate=5_000,
    queries=60,
    repeat=2,
)
FULL: Final = Sizes(dedup=100_000_000, query_rows=20_000_000, query_rate=100_000, repeat=5)

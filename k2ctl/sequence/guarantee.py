"""What holds of sequence state now, by name, so that a reduced guarantee is seen and not guessed."""

from dataclasses import dataclass
from typing import Final

OWN: Final = "OWN"
SHARED: Final = "SHARED"
REDUCED: Final = "REDUCED"
GUARANTEES: Final[dict[str, str]] = {
    OWN: "sequences are followed in this process; who takes over rebuilds them from the table",
    SHARED: "the store has what is committed; who takes over goes on at once",
    REDUCED: "sequences are followed in this process; the store lacks commits, who takes over rebuilds those",
}
"""Each guarantee with its meaning. Symbols idle for longer than the dedup window are known from a shared store only;
without it they are unverified at the next start: whether something is missing before them is not told."""


@dataclass(frozen=True)
class StateSyncStatus:
    """How sequence state stands.

    store: `memory` or `redis`. guarantee: a key of `GUARANTEES`; why: what reduces it. behind_symbols: committed and
    not in the store. rebuilt_partitions: given to the store as a whole, because it had lost or never had them.
    failures: calls that failed, since the start. damaged: the last keys of the store that another program had written
    to, each with what was wrong; the table's state takes their place.
    """

    store: str
    guarantee: str
    why: str
    behind_symbols: int
    publications: int
    rebuilt_partitions: int
    failures: int
    damaged: tuple[str, ...] = ()

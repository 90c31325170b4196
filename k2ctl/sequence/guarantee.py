"""What holds of sequence state now, by name, so that a reduced guarantee is seen and not guessed."""

from typing import Final

from k2ctl.domain.status_parts import REDUCED

OWN: Final = "OWN"
SHARED: Final = "SHARED"
GUARANTEES: Final[dict[str, str]] = {
    OWN: "sequences are followed in this process; who takes over rebuilds them from the table",
    SHARED: "the store has what is committed; who takes over goes on at once",
    REDUCED: "sequences are followed in this process; the store lacks commits, who takes over rebuilds those",
}
"""Each guarantee with its meaning. Symbols idle for longer than the dedup window are known from a shared store only;
without it they are unverified at the next start: whether something is missing before them is not told."""

"""One loop for every commit to a table that others commit to at the same time.

What may be said of a try that did not go through is decided here, once:

- A conflict is certain: somebody else was first, and nothing of ours was stored.
- No answer leaves the outcome unknown: the swap may have happened. The next try looks first.
- Anything else would come out the same again, and ends the commit at once.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
)
from sqlalchemy.exc import SQLAlchemyError

from k2ctl.clock import Clock
from k2ctl.errors import LakeError, LakeUnanswered, first_line

GIVE_UP_AFTER_S: Final = 60.0
"""How long a commit is tried, conflicts and unreachable catalogs together."""

FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 2.0

CONFLICTS: Final = (CommitFailedException,)
UNCERTAIN: Final = (
    SQLAlchemyError,
    OSError,
    CommitStateUnknownException,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    AuthorizationExpiredError,
)
"""Whatever a catalog's or a warehouse's transport raises: the swap may have happened."""

Done = TypeVar("Done")


@dataclass(frozen=True)
class Try:
    """One try. number: from 1 on. uncertain: the outcome of an earlier one is not known."""

    number: int
    uncertain: bool


def commit_optimistically(
    attempt: Callable[[Try], Done],
    *,
    what: str,
    hint: str,
    clock: Clock,
    rng: random.Random | None = None,
    within_s: float = GIVE_UP_AFTER_S,
    longest_pause_s: float = LONGEST_PAUSE_S,
    on_trouble: Callable[[str], None] = lambda _: None,
) -> Done:
    """Repeat `attempt` until it goes through, with random pauses that grow up to `longest_pause_s`.

    attempt: loads the table fresh, compares, and commits once. what, hint: name the commit to people when it is given
    up. on_trouble: is told what the catalog or the warehouse said, while the commit is tried again because of it.

    Raises:
        LakeError: conflicts or silence did not end within `within_s`. Whatever else `attempt` raises.
    """
    rng = rng or random.Random()
    started_s, number, uncertain = clock.monotonic_s(), 0, False
    while True:
        number += 1
        try:
            return attempt(Try(number, uncertain))
        except CONFLICTS as error:
            failed: Exception = error
        except LakeUnanswered as error:  # before the swap: nothing was stored
            failed = error
            on_trouble(first_line(error))
        except UNCERTAIN as error:
            failed, uncertain = error, True
            on_trouble(first_line(error))
        if clock.monotonic_s() - started_s >= within_s:
            raise LakeError(
                f"{what} did not go through in {within_s:.0f} s and {number} tries: {first_line(failed)}", hint
            ) from failed
        clock.sleep(rng.uniform(0, min(longest_pause_s, FIRST_PAUSE_S * 2 ** min(number, 10))))

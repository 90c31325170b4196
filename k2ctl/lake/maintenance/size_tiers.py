"""Which files are worth merging: those of like size, so that no row is rewritten more often than needed."""

from collections.abc import Sequence
from typing import Final

from k2ctl.lake.live_files import LiveFile, by_hour

FULL_FILE_ROWS: Final = 16_777_216
"""A file of this many rows (200 to 500 MB) is not merged again."""

QUIET_MS: Final = 600_000
"""An hour that nothing was added to for ten minutes is finished, and is merged however few its files are."""


def of_like_size(files: Sequence[LiveFile]) -> list[LiveFile]:
    """The files of an hour to merge into one, smallest first; empty when that would be no gain.

    A file that is larger than all smaller ones together is left alone. So each merge at least doubles what a
    row's file holds, a row is rewritten log2(files) times at most, and as many large files remain beside.
    """
    chosen = sorted((file for file in files if file.rows < FULL_FILE_ROWS), key=lambda file: file.bytes)
    while len(chosen) > 1 and chosen[-1].bytes > sum(file.bytes for file in chosen[:-1]):
        chosen.pop()
    return chosen if len(chosen) > 1 else []


def due(files: Sequence[LiveFile], after_files: int, now_ms: int) -> list[list[LiveFile]]:
    """What to merge, hour by hour, the hour with the most files first.

    An hour is due with `after_files` files, or as soon as it is quiet.
    """
    found = []
    for members in by_hour(files).values():
        last_ms = max(file.added_ms or 0 for file in members)
        if len(members) >= after_files or now_ms - last_ms >= QUIET_MS:
            found.append(of_like_size(members))
    return sorted(filter(None, found), key=len, reverse=True)

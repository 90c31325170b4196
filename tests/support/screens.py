"""Screens as plain text, kept beside the tests in files that a reviewer reads.

    same_as_kept(plain(watch_screen(…), 80, 24), Path(__file__).parent / "screens" / "watch-80x24.txt")

A screen that is meant to be another one now is written again with K2CTL_KEEP_SCREENS=1, and looked at in the commit.
"""

import difflib
import os
from pathlib import Path
from typing import Final

from rich.console import RenderableType

from k2ctl.console import canvas

SIZES: Final = ((80, 24), (160, 50), (220, 60))
"""Columns and lines at which screens are kept: the smallest, a usual and a wide one."""

_KEEP: Final = "K2CTL_KEEP_SCREENS"


def plain(content: RenderableType, width: int, height: int = 100) -> str:
    """What is shown in so many columns, without colour, and without spaces at the ends of lines."""
    console = canvas(width, height, color_system=None)
    with console.capture() as captured:
        console.print(content)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def same_as_kept(shown: str, kept: Path) -> None:
    """The screen is the one that is kept; else the lines in which they differ are the failure."""
    if os.environ.get(_KEEP):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(shown, encoding="utf-8")
        return
    assert kept.exists(), f"{kept} is not there; write it with {_KEEP}=1, and look at it"
    before = kept.read_text(encoding="utf-8")
    differing = difflib.unified_diff(before.splitlines(), shown.splitlines(), str(kept), "shown now", lineterm="", n=1)
    assert shown == before, "\n".join(["the screen is another one:", *differing, f"If it is meant: {_KEEP}=1"])

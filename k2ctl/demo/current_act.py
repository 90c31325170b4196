"""Which act is being played, for the presenter's second terminal: a small file in the folder of the running demo.

It is deleted with that folder, and valid only while the demo runs.
"""

from pathlib import Path
from typing import Final

from k2ctl.demo.cleanup import running
from k2ctl.home import Home

FILE: Final = "act"
STARTING: Final = -1
"""The demo runs, and no act has begun."""


def save_act(home: Home, number: int) -> None:
    """Write down that an act begins, in the demo's own state directory."""
    path = home.path / FILE
    beside = path.with_suffix(".new")
    beside.write_text(str(number))
    beside.replace(path)  # so that no reader sees half a file


def current_act() -> int | None:
    """The number of the act that is being played, STARTING before the first; None when no demo runs."""
    folder = running()
    return None if folder is None else _number_in(folder)


def _number_in(folder: Path) -> int:
    try:
        return int((folder / FILE).read_text())
    except FileNotFoundError:
        return STARTING

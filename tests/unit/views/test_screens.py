"""Every screen at three sizes, kept as plain text; and what holds for all of them."""

import io
import re
from functools import cache
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.support.screens import SIZES, plain, same_as_kept
from tests.support.shown import asked, checked, played, running

SCREENS = {**running.SCREENS, **asked.SCREENS, **checked.SCREENS, **played.SCREENS}
KEPT = Path(__file__).parent / "screens"
BOUNDLESS = 2_000
"""Columns in which nothing has to be broken."""

FIGURE = r"[0-9][0-9,.]*"
UNIT = r"(?:ms|s|min|h|B|KB|MB|GB|MiB|GiB|%|×|bytes|USD|USD/month|(?:trades|ids|rows|records)(?:/s)?)"
WITH_UNIT = re.compile(rf"(?<![\w.,]){FIGURE} {UNIT}(?![\w/])")
_DRAWN = re.compile("[\u2500-\u259f\u2800-\u28ff]+")
"""Frames, bars and charts."""

NEVER_WHOLE = 60
"""Characters of a word that may be broken: an address, or digits."""

sizes = pytest.mark.parametrize(("width", "height"), SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
screens = pytest.mark.parametrize("name", SCREENS)


@cache
def drawn(name: str, width: int, height: int, columns: int = 0) -> str:
    """A screen that is made for a width, in so many columns; without, in its own."""
    return plain(SCREENS[name](width, height), columns or width, height)


@sizes
@screens
def test_a_screen_is_the_one_that_is_kept(name: str, width: int, height: int) -> None:
    shown = drawn(name, width, height)
    same_as_kept(shown, KEPT / f"{name}-{width}x{height}.txt")


@sizes
@screens
def test_nothing_is_wider_than_the_terminal_and_no_word_is_broken(name: str, width: int, height: int) -> None:
    shown = drawn(name, width, height)
    whole = set(words(drawn(name, width, height, BOUNDLESS)))
    assert max(map(cell_len, shown.splitlines())) <= width
    long = [word for word in whole if len(word) > NEVER_WHOLE]
    broken = [word for word in words(shown) if word not in whole and not is_part(word, long)]
    assert [word for word in broken if not word.endswith("…")] == []
    assert [word for word in broken if re.search(r"[0-9]…$", word)] == [], "a figure is cut"


@sizes
@pytest.mark.parametrize("name", [name for name in played.SCREENS if name not in ("demo-result", "demo-notes")])
def test_the_screen_of_the_demo_has_always_one_height(name: str, width: int, height: int) -> None:
    assert len(drawn(name, width, height).splitlines()) == height - 1


@sizes
@screens
def test_a_figure_and_its_unit_stay_on_one_line(name: str, width: int, height: int) -> None:
    shown = [" ".join(line.split()) for line in drawn(name, width, height).splitlines()]
    whole = drawn(name, width, height, BOUNDLESS)
    figures = {word for line in shown for word in line.split()}
    with_unit = [
        found for found in WITH_UNIT.findall(whole) if len(found.split()[0]) > 2 and found.split()[0] in figures
    ]
    assert [found for found in with_unit if not any(found in line for line in shown)] == []


@screens
def test_without_colour_no_colour_code_is_written(name: str) -> None:
    canvas = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=True)
    with canvas.capture() as captured:
        canvas.print(SCREENS[name](80, 24))
    codes = {code for found in re.findall(r"\x1b\[([0-9;]*)m", captured.get()) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4"}, "bold, dim, italic and underlined are no colours"


def words(shown: str) -> list[str]:
    """What is read in a screen: neither frames nor bars nor charts."""
    return [word for word in _DRAWN.sub(" ", shown).split() if re.search(r"\w", word)]


def is_part(word: str, long: list[str]) -> bool:
    """Whether it is a piece of a word that is longer than a line may be."""
    return any(word in one for one in long)

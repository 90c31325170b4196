"""Screens as pictures that stand alone: no font and no style is fetched from anywhere."""

import io
import re
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType

_FONT_FACES: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def save_picture(screen: RenderableType, size: tuple[int, int], path: Path, title: str) -> None:
    """Write a screen of (columns, lines) as an SVG, or as HTML by its path; its folder is made when missing."""
    width, height = size
    canvas = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        highlight=False,
        markup=False,
    )  # fmt: skip
    canvas.print(screen)
    if path.suffix == ".html":
        text = canvas.export_html()
    else:
        text = _FONT_FACES.sub("", canvas.export_svg(title=title)).replace("Fira Code", "ui-monospace, Menlo, Consolas")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

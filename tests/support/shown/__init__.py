"""Screens with values of a platform in use, by name; each is made for a width and a height."""

from collections.abc import Callable

from rich.console import RenderableType

Shown = Callable[[int, int], RenderableType]
"""Columns and lines of a terminal → what it shows."""

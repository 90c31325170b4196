"""Feeds as tables and as JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.profiles.feed import DeclaredFeed
from k2ctl.views.style import listing


def summary_of(declared: DeclaredFeed) -> dict[str, Any]:
    """A feed in short, for scripts."""
    feed = declared.feed
    return {
        "name": declared.name,
        "format": feed.source.format,
        "reads": "files" if feed.source.is_of_files else "topics",
        "description": feed.description,
        "documentation": feed.documentation,
    }


def document_of(declared: DeclaredFeed) -> dict[str, Any]:
    """A feed for scripts, with what it leaves to defaults."""
    return {"name": declared.name, **declared.feed.model_dump(mode="json", by_alias=True)}


def feeds_panel(feeds: Sequence[DeclaredFeed]) -> RenderableType:
    """Those of files first, then those of topics."""
    ordered = sorted(feeds, key=lambda declared: (not declared.feed.source.is_of_files, declared.name))
    table = listing(
        ordered,
        ("=feed", lambda one: one.name),
        ("=format", lambda one: one.feed.source.format),
        ("reads", lambda one: one.feed.description),
    )
    return Group(table, Text(), Text("One of them: k2ctl feed show NAME; for others: k2ctl feed guess FILE|TOPIC"))

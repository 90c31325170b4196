"""What `k2ctl watch` shows on a terminal: the page that was chosen, and below it what can be chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.clock import clock_text
from k2ctl.console import visible
from k2ctl.domain.overview import Overview
from k2ctl.kafka.dead_letters import StoredDeadLetters
from k2ctl.views.dead_letters import dead_letters_panel
from k2ctl.views.style import LEVEL_STYLES, count, facts
from k2ctl.views.watch.consumers import consumers_page, partitions_page
from k2ctl.views.watch.frame import Scroll, Scrolled
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.overview import watch_screen
from k2ctl.views.watch.transitions import transitions_page

NEWEST_SHOWN: Final = 200
TOGETHER: Final = (1, 2, 5, 10, 20, 60)
"""How many ticks of half a second make one value of the chart, from the nearest to the farthest view."""


class WatchPage(StrEnum):
    """What a person looks at."""

    OVERVIEW = "overview"
    PARTITIONS = "partitions"
    CONSUMERS = "consumers"
    TRANSITIONS = "transitions"
    DEAD_LETTERS = "dead letters"
    LOG = "log"
    HELP = "help"


@dataclass(frozen=True)
class Key:
    """A key, what it is called below the screen (empty: only in the help), and what it does."""

    key: str
    name: str
    does: str
    page: WatchPage | None = None


KEYS: Final = (
    Key("?", "help", "these keys; also h", WatchPage.HELP),
    Key("space", "pause", "the screen stands still until the space bar is pressed again; also a replay"),
    Key(
        "p",
        "partitions",
        "every partition with its offsets; s sorts them by how far behind they are",
        WatchPage.PARTITIONS,
    ),
    Key("c", "consumers", "each consumer, all together, and what is wrong with each; the loads", WatchPage.CONSUMERS),
    Key("d", "dead letters", "how many by topic and cause, and the newest", WatchPage.DEAD_LETTERS),
    Key("l", "log", "what consumers in the background log, and this command", WatchPage.LOG),
    Key("q", "quit", "ends; so does Ctrl-C"),
    Key("t", "transitions", "changes of level with their reasons, of each consumer and summed", WatchPage.TRANSITIONS),
    Key("o", "overview", "back to all at a glance; also Escape", WatchPage.OVERVIEW),
    Key("Tab", "next consumer", "everything of one consumer alone, then of the next, then of all again"),
    Key("+ -", "time", "more or less time in the chart of the lag"),
    Key("↑ ↓", "", "a line up or down; also k and j, PgUp, PgDn, Home and End"),
)
"""In the order in which they give way where the screen is narrow, the last first."""

_SIGNS: Final = (
    ("● ▪ ○", "trades of a priority are processed, spilled to disk, shed: left in Kafka"),
    ("▲ ▼", "the lag at which the level becomes worse, and below which it may become better"),
)


@dataclass(frozen=True)
class WatchScreen:
    """Everything that is to be seen."""

    overview: Overview
    history: LagHistory
    page: WatchPage = WatchPage.OVERVIEW
    # Whose figures; empty for all.
    consumer: str = ""
    # An index of TOGETHER.
    zoom: int = 0
    worst_first: bool = False
    scroll: Scroll = field(default_factory=Scroll)
    # A sentence in place of the keys: paused, or what is wrong with the stack.
    said: str = ""
    dead_letters: StoredDeadLetters | None = None
    log: Sequence[str] = ()
    # Why dead letters or log are not there.
    missing: str = ""
    with_keys: bool = True


def screen_view(screen: WatchScreen, width: int, height: int) -> RenderableType:
    """The whole terminal: the page, and one line below it."""
    whose = of_one(screen.overview, screen.consumer)
    if screen.page is WatchPage.OVERVIEW:
        together = TOGETHER[screen.zoom]
        page = watch_screen(whose, screen.history, width, height - 1, screen.consumer, together)
        return Group(page, _foot(screen, width))
    title = str(screen.page) + (f" of {screen.consumer}" if screen.consumer else "")
    content = _page(replace(screen, overview=whose), width - 4)
    is_log, headings = screen.page is WatchPage.LOG, int(screen.page is WatchPage.PARTITIONS)
    page = Scrolled(content, title, height - 2, screen.scroll, is_log, headings)
    return Group(_head(whose), page, _foot(screen, width))


def of_one(overview: Overview, consumer: str) -> Overview:
    """The overview of one consumer alone; the same where it is none that reports."""
    found = [status for status in overview.consumers if status.id == consumer]
    return Overview.of(found, overview.loaders, at_us=overview.at_us) if found else overview


def _page(screen: WatchScreen, width: int) -> RenderableType:
    match screen.page:
        case WatchPage.PARTITIONS:
            return partitions_page(screen.overview, width, worst_first=screen.worst_first)
        case WatchPage.CONSUMERS:
            return consumers_page(screen.overview, width)
        case WatchPage.TRANSITIONS:
            return transitions_page(screen.overview)
        case WatchPage.DEAD_LETTERS:
            return _dead_letters(screen)
        case WatchPage.LOG:
            return _log(screen)
        case _:
            return Group(facts((one.key, one.does) for one in KEYS), Text(), facts(_SIGNS))


def _dead_letters(screen: WatchScreen) -> RenderableType:
    if screen.dead_letters is None:
        return Text(screen.missing or "Reading them …", style="yellow" if screen.missing else "dim")
    newest = sorted(screen.dead_letters.found, key=lambda one: one.at_ms, reverse=True)[:NEWEST_SHOWN]
    shown = dead_letters_panel(screen.dead_letters, newest)
    return Group(Text(screen.missing, style="yellow"), shown) if screen.missing else shown


def _log(screen: WatchScreen) -> RenderableType:
    if not screen.log:
        return Text(screen.missing or "Nothing was logged.", style="dim")
    return Group(*(_logged(line) for line in screen.log))


_LOG_STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


def _logged(line: str) -> Text:
    style = next((style for word, style in _LOG_STYLES.items() if f" {word} " in line[:60]), "")
    return Text(visible(line), style=style, overflow="fold")


def _head(overview: Overview) -> Text:
    """The platform in one line, above a page."""
    head = Text.assemble(
        (f" {clock_text(overview.at_us)} UTC  ", "dim"),
        (overview.level, LEVEL_STYLES.get(overview.level, "bold")),
        f"  lag {_lag(overview)}  read {count(overview.rate_in)}/s  stored {overview.stored:,}",
        no_wrap=True,
        overflow="ellipsis",
    )
    if not overview.ladder:
        head = Text(f" {overview.level_reason}", style="yellow", no_wrap=True, overflow="ellipsis")
    return head


def _lag(overview: Overview) -> str:
    return "unknown" if overview.lag_trades is None else f"{count(overview.lag_trades)} trades"


def _foot(screen: WatchScreen, width: int) -> Text:
    """What is wrong or paused, else the keys, as many as there is room for."""
    if screen.said:
        last = "   q quits" if screen.with_keys else "   Ctrl-C ends"
        room = width - len(last) - 2
        return Text.assemble((f" {screen.said[:room]} ", "black on yellow"), (last, "dim"), no_wrap=True)
    if not screen.with_keys:
        return Text(" Ctrl-C ends", style="dim")
    foot = Text(" ", no_wrap=True, overflow="crop")
    for one in KEYS:
        here = one.page is screen.page
        item = Text.assemble((one.key, "bold"), " ", (one.name, "reverse" if here else "dim"), "  ")
        if one.name and len(foot) + len(item) - 2 <= width:
            foot.append_text(item)
    return foot

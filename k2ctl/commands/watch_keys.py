"""What keys do to the screen of `k2ctl watch`."""

from dataclasses import replace
from typing import Final

from k2ctl.views.watch.screen import KEYS, TOGETHER, WatchPage, WatchScreen

_LAST: Final = 1 << 30
_PAGES: Final = {one.key: one.page for one in KEYS if one.page} | {"h": WatchPage.HELP, "escape": WatchPage.OVERVIEW}
_LINES: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "home": -_LAST, "g": -_LAST, "end": _LAST, "G": _LAST}
_PAGED: Final = {"pageup": -1, "b": -1, "pagedown": 1, "f": 1}


def after_key(screen: WatchScreen, key: str) -> WatchScreen:
    """The screen after a key; the same where the key means nothing."""
    if key in _PAGES:
        page = WatchPage.OVERVIEW if _PAGES[key] is screen.page else _PAGES[key]
        screen.scroll.first = 0
        return replace(screen, page=page, missing="")
    if key in _LINES or key in _PAGED:
        up = -1 if screen.page is WatchPage.LOG else 1
        screen.scroll.first += up * (_LINES.get(key) or _PAGED[key] * screen.scroll.room)
        return screen
    if key in ("tab", "backtab"):
        names = ["", *sorted(status.id for status in screen.overview.consumers)]
        at = names.index(screen.consumer) if screen.consumer in names else 0
        return replace(screen, consumer=names[(at + (1 if key == "tab" else -1)) % len(names)])
    if key in ("+", "-"):
        return replace(screen, zoom=max(0, min(len(TOGETHER) - 1, screen.zoom + (1 if key == "+" else -1))))
    if key == "s":
        return replace(screen, worst_first=not screen.worst_first)
    return screen

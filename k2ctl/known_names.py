"""Names that a shell completes: profiles and feeds, topics with their partitions and symbols, columns, consumers.

Nothing here may take long or fail. Topics and symbols are those of the stack when they were last looked up, which a
process of its own does: the shell waits for it only where nothing is known yet.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from k2ctl.endpoints import Endpoints

FILE: Final = "names.json"
"""In the state directory: the names that were looked up last, and of which stack."""
STALE_S: Final = 30.0
WAIT_S: Final = 2.0
"""For the first names of a stack."""
_LOOK_EVERY_S: Final = 0.02
_AT_MOST_S: Final = 20
"""A look-up that takes longer ends."""
_MOST: Final = 2_000
"""A shell shows no more."""


def profiles(incomplete: str) -> list[str]:
    """The profiles that are shipped."""
    return _beginning(incomplete, _shipped("profiles"))


def feeds(incomplete: str) -> list[str]:
    """The feeds that are shipped."""
    return _beginning(incomplete, _shipped("profiles/feeds"))


def topics(incomplete: str) -> list[str]:
    """The topics of the stack's Kafka."""
    return _beginning(incomplete, _looked_up("topics"))


def symbols(incomplete: str) -> list[str]:
    """The symbols of the table and the stream; as they are typed, in lower case where that is how they are begun."""
    known = _looked_up("symbols")
    found = _beginning(incomplete, known)
    if found or incomplete != incomplete.lower():
        return found
    return _beginning(incomplete, [symbol.lower() for symbol in known])


def symbol_list(incomplete: str) -> list[str]:
    """`BHP,RIO`: the last of several symbols."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{symbol}" for symbol in symbols(last)]


def values_of_parameters(incomplete: str) -> list[str]:
    """`symbol=BHP`: of a parameter of a query."""
    name, equals, symbol = incomplete.partition("=")
    return [f"{name}={one}" for one in symbols(symbol)] if equals and name == "symbol" else []


def lines_of_topics(incomplete: str) -> list[str]:
    """`A=TOPIC`: a line, by whatever name."""
    name, equals, topic = incomplete.partition("=")
    return [f"{name}={one}" for one in topics(topic)] if equals else []


def places(context: typer.Context, incomplete: str) -> list[str]:
    """`start`, or where each partition of the topic that was typed begins."""
    firsts = _looked_up("places").get(context.params.get("topic"), {})
    return _beginning(incomplete, ["start", *(f"{partition}:{first}" for partition, first in firsts.items())])


def columns(incomplete: str) -> list[str]:
    """The columns of trades, for the last word of a condition or a list."""
    from k2ctl.domain.rows import arrow_schema

    before, begun = _last_word(incomplete)
    return [before + column for column in _beginning(begun, arrow_schema().names)]


def _last_word(text: str) -> tuple[str, str]:
    at = max(map(text.rfind, " ,(")) + 1
    return text[:at], text[at:]


def settings(incomplete: str) -> list[str]:
    """What is set once."""
    from k2ctl.settings import SETTINGS

    return _beginning(incomplete, SETTINGS)


def values_of_setting(context: typer.Context, incomplete: str) -> list[str]:
    """What the setting that was typed may be."""
    from k2ctl.settings import SETTINGS

    setting = SETTINGS.get(context.params.get("name") or "")
    if setting is None:
        return []
    return profiles(incomplete) if setting.name == "profile" else _beginning(incomplete, setting.choices)


def consumers(incomplete: str) -> list[str]:
    """The consumers in the background."""
    from k2ctl.endpoints import load_endpoints
    from k2ctl.home import Home
    from k2ctl.stack import fleet

    endpoints = load_endpoints(Home.of_user())
    return _beginning(incomplete, [one.name for one in fleet.members(endpoints)] if endpoints else [])


def engines(incomplete: str) -> list[str]:
    """The engines."""
    from k2ctl.settings import SETTINGS

    return _beginning(incomplete, SETTINGS["engine"].choices)


def own_engines(incomplete: str) -> list[str]:
    """The engines that run a stack of their own."""
    return [engine for engine in engines(incomplete) if engine != "external"]


def one_of(*names: str) -> Callable[[str], list[str]]:
    """For an option that takes one of these."""

    def choices(incomplete: str) -> list[str]:
        return _beginning(incomplete, names)

    return choices


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)][:_MOST]


def _shipped(folder: str) -> list[str]:
    from k2ctl.home import shipped

    return sorted(path.stem for path in shipped(folder).glob("*.yaml"))


def _looked_up(kind: str) -> Any:
    """Topics, places or symbols of the stack, as they were last looked up; a look-up begins where that was long ago."""
    from k2ctl.endpoints import load_endpoints
    from k2ctl.home import Home

    endpoints = load_endpoints(Home.of_user())
    if endpoints is None:
        return {}
    kept = _kept(endpoints)
    if kept is None or time.time() - kept["at_s"] > STALE_S:
        _look_up_beside(endpoints)
    until_s = time.monotonic() + WAIT_S
    while kept is None and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)
        kept = _kept(endpoints)
    return (kept or {}).get(kind) or {}


def _stack_of(endpoints: "Endpoints") -> str:
    return f"{endpoints.bootstrap_servers} {endpoints.table} {endpoints.started_at_us}"


def _kept(endpoints: "Endpoints") -> dict[str, Any] | None:
    """None where nothing is known of this stack."""
    import json

    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads((endpoints.home.path / FILE).read_bytes())
        if found["stack"] == _stack_of(endpoints) and float(found["at_s"]) <= time.time():
            return dict(found)
    return None


def _look_up_beside(endpoints: "Endpoints") -> None:
    """Look up in a process that nobody waits for. Its parent has no threads, and ends within seconds."""
    if os.fork():
        return
    signal.alarm(_AT_MOST_S)
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):  # a shell waits until its end of the pipe is closed
            os.dup2(nowhere, number)
        look_up(endpoints)
    finally:
        os._exit(0)


def look_up(endpoints: "Endpoints") -> None:
    """Take down topics, where their partitions begin, and symbols; of a part that does not answer, none.

    Raises:
        OSError: the state directory cannot be written.
    """
    import json

    from k2ctl.files import write_atomically
    from k2ctl.kafka.admin import BrokerAdmin
    from k2ctl.query.session import Session

    found: dict[str, Any] = {"stack": _stack_of(endpoints), "at_s": time.time()}
    with suppress(Exception), BrokerAdmin(endpoints) as admin:
        found["topics"] = sorted(admin.topics())
        found["places"] = {
            topic: {p: log.low for p, log in admin.watermarks(topic).items()} for topic in found["topics"]
        }
    with suppress(Exception), Session.at(endpoints) as session:
        found["symbols"] = session.symbols().table["symbol"].to_pylist()
    write_atomically(Path(endpoints.home.path) / FILE, json.dumps(found))

"""What somebody names to look at: files, or a topic of the running stack."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.errors import UsageError, first_line
from k2ctl.feeds.files.reading import FeedFiles, market_columns
from k2ctl.home import Home
from k2ctl.profiles import load_profile
from k2ctl.profiles.feed import DeclaredFeed

NO_STACK_PROFILE: Final = "laptop"
"""Whose market a feed of files means, where no stack runs."""

_PATTERN: Final = re.compile(r"[*?\[]")


def names_files(target: str) -> bool:
    """True if a target is a path, a glob or a prefix of an object store, or was meant as one."""
    if target.startswith("s3://") or _PATTERN.search(target) or "/" in target:
        return True
    try:
        return Path(target).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def stack_of(topic: str) -> Endpoints:
    """The stack that a topic is looked for in.

    Raises:
        UsageError: none runs.
    """
    endpoints = load_endpoints(Home.of_user())
    if endpoints is None:
        raise UsageError(
            f"There is no file {topic}, and no stack runs that could have such a topic.",
            "Name a file as ./NAME, or start the stack: k2ctl stack up",
        )
    return endpoints


def files_of(declared: DeclaredFeed, where: str, now_us: int, said: Mapping[str, str] | None = None) -> FeedFiles:
    """The files of a path, as `k2ctl load --replay` would read them. said: what their names do not.

    Raises:
        UsageError: there are none, or the feed is not of files.
    """
    endpoints = load_endpoints(Home.of_user())
    market = load_profile(endpoints.profile if endpoints else NO_STACK_PROFILE).market
    return FeedFiles.at(declared, where, storage_of_stack(), market_columns(market), now_us, said=said)


def storage_of_stack() -> dict[str, str]:
    """What reaches the object store of the running stack; empty without one."""
    endpoints = load_endpoints(Home.of_user())
    return {} if endpoints is None else endpoints.storage


def unreadable(where: str, error: OSError) -> UsageError:
    """What is said of a file that the system does not give."""
    reason = error.strerror or first_line(error)
    return UsageError(f"{where} cannot be read: {reason}", "Name a file of trades that is whole and may be read.")

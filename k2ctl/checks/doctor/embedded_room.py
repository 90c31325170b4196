"""Whether the embedded engine's Kafka keeps enough for what its profile asks: 5 MiB of each partition, and no more."""

from typing import Final

import numpy as np

from k2ctl.errors import ProfileError
from k2ctl.kafka.embedded import RETENTION_BYTES
from k2ctl.load.intake import PAUSE_AT, UNCOMPRESSED_RECORD_BYTES
from k2ctl.profiles import Profile, load_profile
from k2ctl.profiles.universe import Universe
from k2ctl.stack.preflight import Check, Verdict, ok, wrong

_NAME: Final = "embedded Kafka"
ENOUGH_S: Final = 10.0
"""A consumer that starts, or takes over, reads nothing for some seconds."""


def unread_trades(profile: Profile) -> int:
    """How many trades of the profile's market a load sends at least before it pauses, while nobody reads.

    The partition decides that has the most traded symbols; what compression saves is left out.
    """
    universe = Universe(profile)
    symbols = np.array([symbol.encode() for symbol in universe.symbols])
    shares = np.bincount(universe.partitioner().partitions_of(symbols), universe.weights)
    return int(PAUSE_AT * RETENTION_BYTES / UNCOMPRESSED_RECORD_BYTES * shares.sum() / shares.max())


def embedded_room(name_or_path: str) -> Check:
    """How long the engine takes the profile's trades while nobody reads them, and what helps if that is too short."""
    try:
        profile = load_profile(name_or_path)
    except ProfileError as error:
        return wrong(_NAME, error)
    trades, rate = unread_trades(profile), profile.load.rate
    lasts_s = trades / rate
    found = f"at least {trades:,} trades while nobody reads, {lasts_s:.1f} s of the profile's {rate:,.0f} a second"
    if lasts_s >= ENOUGH_S:
        return ok(_NAME, found)
    step = f"k2ctl stack down && k2ctl stack up --engine local --profile {name_or_path}"
    return Check(_NAME, Verdict.NOTE, f"too small for the profile: {found}; then a load pauses", step)

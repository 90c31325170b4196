"""How to consume."""

import os
import socket
from dataclasses import dataclass, field

from k2ctl.profiles import Profile


def unique_id() -> str:
    """The id of a consumer without a name: no other that runs now has the same, on whatever machine."""
    return f"consumer-{socket.gethostname()}-{os.getpid()}"


@dataclass
class ConsumerPlan:
    """The options of one consumer."""

    profile: Profile
    until_caught_up: bool = False
    """End once all is read up to the watermarks of the start."""
    backfill: bool = False
    """Read nothing new; backfill all that is outstanding, then end."""
    rebase: bool = False
    """Accept that this Kafka is not the one that the table was filled from."""
    budget: float | None = None
    """Processed trades per second at most; None for as many as the machine can."""
    state: str = ""
    """Where sequence state is kept: `memory`, or the address of a Redis; empty for the stack's."""
    group: bool = False
    """Read the partitions that a group assigns, beside other consumers, instead of all of them."""
    named: bool = False
    """True if `consumer_id` is a static name under which this consumer joins its group again."""
    consumer_id: str = field(default_factory=unique_id)

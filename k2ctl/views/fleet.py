"""What `k2ctl consume status` and `stop` show."""

import time
from collections.abc import Sequence
from itertools import pairwise

from rich.table import Table
from rich.text import Text

from k2ctl.stack.fleet import Member
from k2ctl.views.style import LEVEL_STYLES, count, seconds

_STATE_STYLES = {"running": "green", "starting": "yellow"}


def fleet_table(found: Sequence[Member]) -> Table:
    """A row for each consumer."""
    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("consumer", "left"), ("state", "left"), ("runs as", "left"), ("partitions", "left"), ("level", "left"),
        ("lag", "right"), ("read/s", "right"), ("up", "right"),
    ):  # fmt: skip
        table.add_column(title, justify=justify, no_wrap=title != "partitions")  # type: ignore[arg-type]
    for member in found:
        up_s = None if member.started_at_us is None else time.time() - member.started_at_us / 1e6
        table.add_row(
            member.name,
            Text(member.state, style=_STATE_STYLES.get(member.state, "bold red")),
            member.container or f"process {member.pid}",
            ranges(member.partitions),
            Text(member.level or "", style=LEVEL_STYLES.get(member.level or "", "")),
            "" if member.lag_trades is None else count(member.lag_trades),
            "" if member.rate_in is None else count(member.rate_in),
            "" if up_s is None or member.state == "exited" else seconds(up_s),
        )
    return table


def ranges(partitions: Sequence[int]) -> str:
    """0,1,2,5 as `0-2 5`; every other one, as a group deals them out, as `0,2…10`."""
    ordered = sorted(partitions)
    steps = {after - before for before, after in pairwise(ordered)}
    if len(ordered) > 3 and len(steps) == 1:
        step = steps.pop()
        return f"{ordered[0]}-{ordered[-1]}" if step == 1 else f"{ordered[0]},{ordered[1]}…{ordered[-1]}"
    return " ".join(map(str, ordered))


def ended_line(member: Member) -> str:
    """What became of a consumer that was stopped."""
    if member.container:
        return f"{member.name} has ended; its last words: k2ctl stack logs"
    if member.done is None:
        return f"{member.name} did not end by itself: what it held is left in Kafka, and nothing is lost."
    done = member.done
    left = f", {done['left_in_kafka']:,} left in Kafka" if done.get("left_in_kafka") else ""
    return f"{member.name} has ended: {done['stored']:,} trades stored in {done['commits']:,} commits{left}."

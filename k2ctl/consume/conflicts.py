"""Why a consumer that reads all partitions cannot go on: the table was moved by somebody else."""

from collections.abc import Mapping

from k2ctl.errors import FencedError, LakeError
from k2ctl.lake.writer import Committed


def fenced_error(committed: Committed, known: Mapping[int, int], topic: str) -> FencedError:
    """Of a fenced commit. known: per partition the table's offset, as this consumer knew it."""
    by_partition = committed.checkpoints.by_partition
    for fenced in committed.fenced:
        stands = by_partition[fenced].next_offset if fenced in by_partition else 0
        if stands < known[fenced.partition]:
            return FencedError(
                f"The table stands at offset {stands:,} of partition {fenced.partition} of {topic}, where this "
                f"consumer knew it at {known[fenced.partition]:,}: it was rolled back, or the partition's epoch was "
                "retired.",
                "See: k2ctl lake status. Go on from there with: k2ctl consume",
            )
    partitions = ", ".join(str(fenced.partition) for fenced in committed.fenced)
    return FencedError(
        f"Another consumer has committed partitions {partitions} of {topic} in the meantime; "
        "what this one had read of them was dropped, so nothing is stored twice.",
        "See who it is: k2ctl watch --once. To share the topic, start each with: k2ctl consume --group",
    )


def rolled_back_error(stands: int, known: int) -> LakeError:
    """Of a table whose newest commit is older than one that this consumer has seen; both by sequence number."""
    return LakeError(
        f"The table stands at commit {stands}, and this consumer has seen commit {known} of it: its catalog was rolled "
        "back, as by an older copy that was restored.",
        "Go on from its newest metadata file, or choose an older one: k2ctl lake register",
    )

"""Which trades of Kafka ranges the table holds: the anti-join by which nothing is backfilled twice."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc
from pyiceberg.table import Table

from k2ctl.lake.manifests import files_met
from k2ctl.lake.named import open_named
from k2ctl.lake.stored import Listed

_COLUMNS = ["kafka_topic", "kafka_epoch", "kafka_partition", "kafka_offset", "kafka_index"]


def stored_identities(
    table: Table, topic: str, epoch: str, ranges: Mapping[int, tuple[int, int]]
) -> dict[int, np.ndarray]:
    """Partition → int64[n], sorted: `identity_numbers` of the rows from its offsets [start, end) that the table holds.

    Every file that may hold some is read once, whatever the number of partitions. A row that another program deleted
    counts as held, see `opened`.
    """
    found: dict[int, list[np.ndarray]] = {partition: [] for partition in ranges}
    if ranges:
        terms = (
            f"(kafka_partition == {partition} and kafka_offset >= {start} and kafka_offset < {end})"
            for partition, (start, end) in ranges.items()
        )
        for file in files_met(table, table.metadata.current_snapshot(), " or ".join(terms), deleted_too=True):
            with open_named(table, Listed.of(file), _COLUMNS) as opened:
                rows = opened.read().filter(_any_of(ranges))
            same_topic, same_epoch = pc.equal(rows["kafka_topic"], topic), pc.equal(rows["kafka_epoch"], epoch)
            ours = rows.filter(pc.and_(same_topic, same_epoch))
            numbers = identity_numbers(ours["kafka_offset"].to_numpy(), ours["kafka_index"].to_numpy())
            of_partition = ours["kafka_partition"].to_numpy()
            for partition, parts in found.items():
                parts.append(numbers[of_partition == partition])
    none = np.zeros(0, np.int64)
    return {partition: np.unique(np.concatenate([none, *parts])) for partition, parts in found.items()}


def identity_numbers(offset: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One number for each (offset, index) of a partition; an index is below 2^16."""
    return np.asarray((offset.astype(np.int64) << 16) | index.astype(np.int64))


def _any_of(ranges: Mapping[int, tuple[int, int]]) -> pc.Expression:
    """The rows of any of the ranges."""
    wanted: pc.Expression = pc.scalar(False)
    for partition, (start, end) in ranges.items():
        inside = (pc.field("kafka_offset") >= start) & (pc.field("kafka_offset") < end)
        wanted = wanted | ((pc.field("kafka_partition") == partition) & inside)
    return wanted

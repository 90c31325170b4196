"""The check of every opening: has another program changed the table so that k2ctl cannot read or write it.

A table can be read while its format and our columns are as k2ctl made them; it can be written while k2ctl can fill
every required column and every field of the partition spec. Our columns are identified by the field id that they first
had. A column that may be empty may have been dropped and added again: rows are written under its new id, and older rows
have no value. Columns that other programs added are kept, readable, and null in our rows.

Delete files forbid no opening. An append beside them is safe, and so is a look-up of trades that were stored before: a
row that another program deleted counts as stored there, so that neither a redelivery nor a backfill stores it again. A
scan for an answer refuses a snapshot that has any (`scan.refuse_deletes`).
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import PartitionField
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import DayTransform, HourTransform, MonthTransform, VoidTransform, YearTransform
from pyiceberg.types import DecimalType, IcebergType, IntegerType, ListType, LongType, NestedField

from k2ctl.domain.rows import arrow_schema, reference_schema
from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.errors import DamagedFile, LakeError, first_line

NEWEST_FORMAT: Final = 2
EMPTY_AT_TIMES: Final = frozenset({"sector", "tick_size", "lot_size", "enriched"})
"""Columns without which a trade is still the same trade."""

RESTORE: Final = "Put back a copy, or go on from an older metadata file: k2ctl lake register --metadata FILE"

ELSEWHERE: Final = "Give k2ctl a catalog of its own, or rename that table; then: k2ctl consume"

_OF_TIME: Final = (HourTransform, DayTransform, MonthTransform, YearTransform)


def damaged(what: str, error: Exception) -> DamagedFile:
    """The error of a file of the table that is there and has another content than it should."""
    return DamagedFile(f"{what} is damaged: {first_line(error)}", RESTORE)


def check_readable(name: str, table: Table) -> None:
    """Refuse a table that would be misread.

    Raises:
        LakeError: its format, or a column of ours, is not as k2ctl knows it.
    """
    _refuse(unreadable_for(name, table))


def check_writable(name: str, table: Table) -> None:
    """Refuse a table that cannot take our rows.

    Raises:
        LakeError: a required column or a partition that k2ctl cannot fill.
    """
    _refuse(unwritable_for(name, table))


def _refuse(findings: Iterator[LakeError]) -> None:
    found = next(findings, None)
    if found is not None:
        raise found


def unreadable_for(name: str, table: Table) -> Iterator[LakeError]:
    """Why a table of ours cannot be read, and the next step; none where it can."""
    ours, metadata = _ours(name), table.metadata
    if metadata.format_version > NEWEST_FORMAT:
        yield LakeError(
            f"The table {name} has Iceberg format version {metadata.format_version}; k2ctl knows up to 2.",
            _go_back(metadata),
        )
    there = {field.name: field for field in metadata.schema().fields}
    missing = [field.name for field in ours.fields if field.name not in there]
    if 2 * len(missing) > len(ours.fields):
        yield LakeError(
            f"The table {name} is not one that k2ctl made: it has no column {', '.join(missing[:3])}.", ELSEWHERE
        )
    made = _as_made(metadata)
    unlike = [field.name for field in ours.fields if not _is_or_was(made.get(field.name), field)]
    if unlike:
        yield LakeError(
            f"The table {name} was made by another version of k2ctl: it has no column {', '.join(unlike[:3])} of the "
            "type that this one writes.",
            ELSEWHERE,
        )
    for field in ours.fields:
        yield from _misread(name, metadata, field, there.get(field.name), made.get(field.name, field).field_id)


def _misread(
    name: str, metadata: TableMetadata, ours: NestedField, found: NestedField | None, born: int
) -> Iterator[LakeError]:
    """What is wrong with a column of ours. born: the field id under which it first stood."""
    if found is None:
        now = next((field.name for field in metadata.schema().fields if field.field_id == born), None)
        if now is not None:
            yield LakeError(
                f"The column {ours.name} of {name} was renamed to {now}.",
                f"Rename it back, in Spark: ALTER TABLE {name} RENAME COLUMN {now} TO {ours.name}",
            )
        else:
            yield LakeError(f"The column {ours.name} of {name} was dropped.", _go_back(metadata))
    elif not _is_or_was(found, ours):
        yield LakeError(
            f"The column {ours.name} of {name} has the type {found.field_type}; k2ctl needs {ours.field_type}.",
            _go_back(metadata),
        )
    elif found.field_id != born and ours.name not in EMPTY_AT_TIMES:
        yield LakeError(
            f"The column {ours.name} of {name} was dropped and added again (field id {born} is {found.field_id} now): "
            "older rows have lost its values.",
            _go_back(metadata),
        )


def _as_made(metadata: TableMetadata) -> dict[str, NestedField]:
    """Each column that the table ever had, as it first stood."""
    newest_first = sorted(metadata.schemas, key=lambda schema: schema.schema_id, reverse=True)
    return {field.name: field for schema in newest_first for field in schema.fields}


def _is_or_was(found: NestedField | None, ours: NestedField) -> bool:
    """Whether a column has our type, or one that Iceberg promotes ours to: every value of ours fits."""
    return found is not None and _holds(found.field_type, ours.field_type)


def _holds(now: IcebergType, ours: IcebergType) -> bool:
    if now is ours:
        return True
    if isinstance(now, DecimalType) and isinstance(ours, DecimalType):
        return now.scale == ours.scale and now.precision >= ours.precision
    if isinstance(now, ListType) and isinstance(ours, ListType):
        return _holds(now.element_type, ours.element_type)
    return now == ours or (isinstance(ours, IntegerType) and isinstance(now, LongType))


def unwritable_for(name: str, table: Table) -> Iterator[LakeError]:
    """Why a table of ours, which can be read, cannot be written, and the next step; none where it can."""
    ours, metadata = _ours(name), table.metadata
    filled = {field.name for field in ours.fields if field.required}
    for field in metadata.schema().fields:
        if field.required and field.name not in filled:
            yield LakeError(
                f"The column {field.name} of {name} is required, and k2ctl has no value for every row.",
                f"Let it be empty, in Spark: ALTER TABLE {name} ALTER COLUMN {field.name} DROP NOT NULL",
            )
    there = {field.field_id: field for field in metadata.schema().fields}
    for part in metadata.spec().fields:
        if not _fills(part, there.get(part.source_id), timed=name != REFERENCE_TABLE):
            column = metadata.schema().find_column_name(part.source_id) or f"field {part.source_id}"
            yield LakeError(
                f"The table {name} is partitioned by {part.transform} of {column}, and k2ctl cannot file rows under "
                "that: it fills hour, day, month and year of the trades' timestamp.",
                f"Drop that field, in Spark: ALTER TABLE {name} DROP PARTITION FIELD {part.name}",
            )


def _fills(part: PartitionField, source: NestedField | None, *, timed: bool) -> bool:
    """Whether all rows of a file have one value of a partition field. timed: they are of one hour of `timestamp`."""
    if isinstance(part.transform, VoidTransform):
        return source is None or not source.required  # pyiceberg writes no null for a required column
    return timed and source is not None and source.name == "timestamp" and isinstance(part.transform, _OF_TIME)


def _go_back(metadata: TableMetadata) -> str:
    before = metadata.metadata_log[-1].metadata_file if metadata.metadata_log else "FILE"
    return f"Go on from a metadata file from before that: k2ctl lake register --metadata {before}"


@cache
def _ours(name: str) -> Schema:
    """The columns of a table that k2ctl makes: of trades, whatever its name, or of reference data."""
    return pyarrow_to_schema(reference_schema() if name == REFERENCE_TABLE else arrow_schema())

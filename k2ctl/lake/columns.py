"""The table's columns as DuckDB reads them from data files: by field id, whatever a file calls them.

A file that was written before a column was added has none of its id, and gives nulls. While the table has never had
another schema than the one that it was made with, names are as good as ids, and cost a query 2 ms less.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

import pyarrow as pa
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.schema import Schema, index_by_name
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from k2ctl.domain.rows import arrow_schema
from k2ctl.errors import LakeError

_TYPES: Final[dict[type[IcebergType], str]] = {
    BooleanType: "BOOLEAN",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    FloatType: "FLOAT",
    DoubleType: "DOUBLE",
    DateType: "DATE",
    TimeType: "TIME",
    TimestampType: "TIMESTAMP",
    TimestamptzType: "TIMESTAMPTZ",
    StringType: "VARCHAR",
    UUIDType: "UUID",
    BinaryType: "BLOB",
    FixedType: "BLOB",
}


@dataclass(frozen=True)
class Column:
    """A column: its field id, its name in SQL and its DuckDB type."""

    field_id: int
    name: str
    type: str


@dataclass(frozen=True)
class Columns:
    """Columns to be read together. as_made: every file calls them by the same names, so that these may be used."""

    every: tuple[Column, ...] = ()
    as_made: bool = False

    def source(self, files: str) -> str:
        """What stands behind FROM. files: a parameter or a list, as SQL."""
        if self.as_made:
            return f"read_parquet({files})"
        listed = ", ".join(
            f"{c.field_id}: {{name: {literal(c.name)}, type: {literal(c.type)}, default_value: NULL}}"
            for c in self.every
        )
        return f"read_parquet({files}, schema = MAP {{{listed}}})"


NAME_MAPPING: Final = "schema.name-mapping.default"

NO_COLUMNS: Final = Columns()


def our_columns(table: Table, ours: pa.Schema | None = None) -> Columns:
    """The columns of trades, under the ids that the table has for them and with the types that k2ctl works with.

    ours: the columns of another table of k2ctl's.

    Raises:
        LakeError: the schema was changed, and another program has added files that name columns by no ids.
    """
    as_made = never_changed(table.metadata)
    if not as_made:
        check_ids(table)
    there = {field.name: field.field_id for field in table.metadata.schema().fields}
    types = _types(arrow_schema() if ours is None else ours)
    return Columns(tuple(Column(there[name], name, kind) for name, kind in types.items()), as_made)


def never_changed(metadata: TableMetadata) -> bool:
    """Whether the table has only ever had the schema that it was made with."""
    return len(metadata.schemas) == 1 and metadata.current_schema_id == 0


def called(table: Table) -> str:
    """The table's name, as SQL has it."""
    return ".".join(table.name())


def all_columns(table: Table) -> Columns:
    """The columns of trades, and behind them those that others have added.

    Raises:
        LakeError: two names differ in case only, or a column is of a type that is not read.
    """
    ours = our_columns(table)
    added = [field for field in table.metadata.schema().fields if field.name not in arrow_schema().names]
    names = [column.name.casefold() for column in ours.every] + [field.name.casefold() for field in added]
    twice = next((field.name for field in added if names.count(field.name.casefold()) > 1), None)
    if twice is not None:
        raise LakeError(
            f"Two columns of the table are called {twice}, but for upper and lower case, which SQL takes for one.",
            f"Rename one of them, in Spark: ALTER TABLE {called(table)} RENAME COLUMN {twice} TO another_name",
        )
    _check_inner(table, added)
    return Columns(
        (*ours.every, *(Column(field.field_id, field.name, duckdb_type(field.field_type)) for field in added))
    )


def check_ids(table: Table) -> None:
    """Refuse a table of which some files identify columns by name alone, as `add_files` of pyiceberg leaves them.

    Raises:
        LakeError: it is one.
    """
    if NAME_MAPPING in table.metadata.properties:
        raise LakeError(
            "The table has data files that another program added without field ids; k2ctl cannot map their columns "
            "after a change of the schema, nor merge them.",
            f"In Spark: CALL system.rewrite_data_files(table => '{called(table)}', "
            "options => map('rewrite-all', 'true')), "
            f"then ALTER TABLE {called(table)} UNSET TBLPROPERTIES ('{NAME_MAPPING}')",
        )


def numbered_columns(schema: Schema) -> Columns:
    """Every column of a schema in its order, under names made of the field ids: `f1`, `f2` …"""
    return Columns(tuple(Column(f.field_id, f"f{f.field_id}", duckdb_type(f.field_type)) for f in schema.fields))


def check_inner_columns(table: Table) -> None:
    """Refuse to read columns inside of columns whose names are not what they were: DuckDB knows these by name only.

    Raises:
        LakeError: one was renamed, or dropped and added again.
    """
    _check_inner(table, table.metadata.schema().fields)


def _check_inner(table: Table, fields: Iterable[NestedField]) -> None:
    for field in fields:
        if field.field_type.is_primitive:
            continue
        inner = {
            (name, number)
            for schema in table.metadata.schemas
            for name, number in index_by_name(schema).items()
            if name.startswith(f"{field.name}.")
        }
        if len({name for name, _ in inner}) < len(inner) or len({number for _, number in inner}) < len(inner):
            raise LakeError(
                f"Inside of the column {field.name} of the table something was renamed or added again; k2ctl would "
                "read it wrong.",
                "Drop the column, or read and compact the table with Spark: "
                f"CALL system.rewrite_data_files('{called(table)}')",
            )


@cache
def _types(ours: pa.Schema) -> dict[str, str]:
    return {field.name: duckdb_type(field.field_type) for field in pyarrow_to_schema(ours).fields}


def duckdb_type(kind: IcebergType) -> str:
    """The DuckDB type that holds every value of an Iceberg type.

    Raises:
        LakeError: there is none.
    """
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if isinstance(kind, StructType):
        return f"STRUCT({', '.join(f'{quoted(f.name)} {duckdb_type(f.field_type)}' for f in kind.fields)})"
    if isinstance(kind, ListType):
        return f"{duckdb_type(kind.element_type)}[]"
    if isinstance(kind, MapType):
        return f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.value_type)})"
    if type(kind) not in _TYPES:
        raise LakeError(f"The table has a column of the type {kind}, which k2ctl does not read.", "Drop that column.")
    return _TYPES[type(kind)]


def quoted(name: str) -> str:
    """A name as SQL writes any name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"

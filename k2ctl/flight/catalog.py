"""What programs ask before they query: the views, their columns, what the service can do; as tables of Flight SQL."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa

from k2ctl import __version__
from k2ctl.query.refusals import VIEWS

CATALOG: Final = "memory"
SCHEMA: Final = "main"
"""The names that DuckDB has for them, so that a name in full finds its view."""

_KIND: Final = "VIEW"
_SQL_INFO: Final[dict[int, str | bool | int]] = {
    0: "k2ctl",
    1: __version__,
    2: pa.__version__,
    3: True,  # read only
    4: True,  # SQL
    5: False,  # Substrait
    8: 0,  # no transactions
    9: False,  # no action that cancels: a client ends its stream
    10: False,  # no ingestion
    500: False,  # no statements that make catalogs, schemas or tables
    501: False,
    502: False,
    504: '"',
    506: True,  # all tables can be selected from
}


def _text(name: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable=null)


_VALUE: Final = pa.dense_union(
    [
        pa.field("string_value", pa.string()),
        pa.field("bool_value", pa.bool_()),
        pa.field("bigint_value", pa.int64()),
        pa.field("int32_bitmask", pa.int32()),
        pa.field("string_list", pa.list_(pa.string())),
        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32()))),
    ]
)
_KEYS: Final = ("catalog_name", "db_schema_name", "table_name", "column_name")
_FOREIGN: Final = [
    *(_text(f"{side}_{name}", null=name in _KEYS[:2]) for side in ("pk", "fk") for name in _KEYS),
    pa.field("key_sequence", pa.int32(), nullable=False),
    _text("fk_key_name", null=True),
    _text("pk_key_name", null=True),
    pa.field("update_rule", pa.uint8(), nullable=False),
    pa.field("delete_rule", pa.uint8(), nullable=False),
]
_TABLES: Final = [
    _text("catalog_name", null=True),
    _text("db_schema_name", null=True),
    _text("table_name"),
    _text("table_type"),
]
SCHEMAS: Final = {
    "CommandGetCatalogs": pa.schema([_text("catalog_name")]),
    "CommandGetDbSchemas": pa.schema([_text("catalog_name", null=True), _text("db_schema_name")]),
    "CommandGetTables": pa.schema(_TABLES),
    "CommandGetTableTypes": pa.schema([_text("table_type")]),
    "CommandGetSqlInfo": pa.schema(
        [pa.field("info_name", pa.uint32(), nullable=False), pa.field("value", _VALUE, nullable=False)]
    ),
    "CommandGetPrimaryKeys": pa.schema(
        [
            *(_text(name, null=name in _KEYS[:2]) for name in _KEYS),
            pa.field("key_sequence", pa.int32(), nullable=False),
            _text("key_name", null=True),
        ]
    ),
    "CommandGetExportedKeys": pa.schema(_FOREIGN),
    "CommandGetImportedKeys": pa.schema(_FOREIGN),
}
"""Command → the columns of its answer."""

_WITH_SCHEMA: Final = pa.schema([*_TABLES, pa.field("table_schema", pa.binary(), nullable=False)])


def schema_of(name: str, command: Any) -> pa.Schema:
    """The columns that a command is answered with."""
    return _WITH_SCHEMA if name == "CommandGetTables" and command.include_schema else SCHEMAS[name]


def answer_of(name: str, command: Any, columns_of: Callable[[str], pa.Schema]) -> pa.Table:
    """The rows for a command. `columns_of`: the columns of a view."""
    schema = schema_of(name, command)
    rows = list[tuple[Any, ...]]()
    if name == "CommandGetSqlInfo":
        return _sql_info(list(command.info), schema)
    if name == "CommandGetCatalogs":
        rows = [(CATALOG,)]
    elif name == "CommandGetDbSchemas" and _inside(command):
        rows = [(CATALOG, SCHEMA)]
    elif name == "CommandGetTableTypes":
        rows = [(_KIND,)]
    elif name == "CommandGetTables":
        rows = [(CATALOG, SCHEMA, view, _KIND) for view in _views(command)]
        if command.include_schema:
            rows = [(*row, columns_of(row[2]).serialize().to_pybytes()) for row in rows]
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _inside(command: Any) -> bool:
    """Whether what is asked for is in our one catalog and schema."""
    if command.HasField("catalog") and command.catalog != CATALOG:
        return False
    return _like(command, "db_schema_filter_pattern", SCHEMA)


def _views(command: Any) -> Iterable[str]:
    wanted = not command.table_types or _KIND in command.table_types
    shown = sorted(VIEWS) if wanted and _inside(command) else []
    return [view for view in shown if _like(command, "table_name_filter_pattern", view)]


def _like(command: Any, field: str, name: str) -> bool:
    """Whether a name is as a pattern of SQL's LIKE has it; without a pattern every name is."""
    if not command.HasField(field):
        return True
    pattern = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in getattr(command, field))
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def _sql_info(wanted: list[int], schema: pa.Schema) -> pa.Table:
    known = {number: value for number, value in _SQL_INFO.items() if not wanted or number in wanted}
    kinds = [{str: 0, bool: 1, int: 3}[type(value)] for value in known.values()]
    children: list[list[Any]] = [[] for _ in range(_VALUE.num_fields)]
    offsets = list[int]()
    for value, kind in zip(known.values(), kinds, strict=True):
        offsets.append(len(children[kind]))
        children[kind].append(value)
    fields = [_VALUE.field(at) for at in range(_VALUE.num_fields)]
    arrays = [pa.array(child, field.type) for child, field in zip(children, fields, strict=True)]
    types, places = pa.array(kinds, pa.int8()), pa.array(offsets, pa.int32())
    values = pa.UnionArray.from_dense(types, places, arrays, [field.name for field in fields])
    return pa.table([pa.array(list(known), pa.uint32()), values], schema)

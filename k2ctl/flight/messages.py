"""The messages of Arrow Flight SQL that the service knows, in protobuf, and the statements that they name.

Numbers and types are those of FlightSql.proto. They are declared as optional fields of proto2, whose bytes are the same
and which say whether a field was given.
"""

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "arrow.flight.protocol.sql"
_PREFIX: Final = f"type.googleapis.com/{_PACKAGE}."
_TEXT, _BYTES, _BOOL = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.TYPE_BOOL
_UINT32, _INT32 = FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_INT32
_REPEATED: Final = frozenset({"info", "table_types"})
_KEYS_OF_A_TABLE: Final = {"catalog": _TEXT, "db_schema": _TEXT, "table": _TEXT}
_MESSAGES: Final[dict[str, dict[str, Any]]] = {
    "CommandGetSqlInfo": {"info": _UINT32},
    "CommandGetXdbcTypeInfo": {"data_type": _INT32},
    "CommandGetCatalogs": {},
    "CommandGetDbSchemas": {"catalog": _TEXT, "db_schema_filter_pattern": _TEXT},
    "CommandGetTables": {
        "catalog": _TEXT,
        "db_schema_filter_pattern": _TEXT,
        "table_name_filter_pattern": _TEXT,
        "table_types": _TEXT,
        "include_schema": _BOOL,
    },
    "CommandGetTableTypes": {},
    "CommandGetPrimaryKeys": _KEYS_OF_A_TABLE,
    "CommandGetExportedKeys": _KEYS_OF_A_TABLE,
    "CommandGetImportedKeys": _KEYS_OF_A_TABLE,
    "CommandStatementQuery": {"query": _TEXT, "transaction_id": _BYTES},
    "CommandPreparedStatementQuery": {"prepared_statement_handle": _BYTES},
    "TicketStatementQuery": {"statement_handle": _BYTES},
    "ActionCreatePreparedStatementRequest": {"query": _TEXT, "transaction_id": _BYTES},
    "ActionCreatePreparedStatementResult": {
        "prepared_statement_handle": _BYTES,
        "dataset_schema": _BYTES,
        "parameter_schema": _BYTES,
    },
    "ActionClosePreparedStatementRequest": {"prepared_statement_handle": _BYTES},
    "DoPutPreparedStatementResult": {"prepared_statement_handle": _BYTES},
}
"""Message → its fields, numbered from 1 in this order."""


def _classes() -> dict[str, type[Message]]:
    file = FileDescriptorProto(name="k2ctl/flight_sql.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = FieldDescriptorProto.LABEL_REPEATED if field in _REPEATED else FieldDescriptorProto.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_CLASSES: Final = _classes()


class NotFlightSql(ValueError):
    """The bytes are no message of Flight SQL."""


def packed(name: str, **fields: Any) -> bytes:
    """A message as it is sent: in an Any, which names it."""
    content: bytes = Packed(type_url=_PREFIX + name, value=bare(name, **fields)).SerializeToString()
    return content


def bare(name: str, **fields: Any) -> bytes:
    """A message without its name, as the result of binding has it."""
    content: bytes = _CLASSES[name](**fields).SerializeToString()
    return content


def unpacked(content: bytes) -> tuple[str, Any]:
    """The name of a message, and the message; None for one that is not known here.

    Raises:
        NotFlightSql: the bytes are no message.
    """
    try:
        found = Packed.FromString(content)
        name = found.type_url.removeprefix(_PREFIX)
        if name == found.type_url:
            raise NotFlightSql("The command is none of Flight SQL.")
        return name, _CLASSES[name].FromString(found.value) if name in _CLASSES else None
    except DecodeError as error:
        raise NotFlightSql("The command cannot be decoded.") from error


@dataclass(frozen=True)
class Statement:
    """A query with the values of its parameters: handles and tickets say it all, and the service keeps nothing."""

    text: str
    # One row, a column for each parameter, as an Arrow stream; empty without parameters.
    row: bytes = b""

    def handle(self) -> bytes:
        """As bytes."""
        text = self.text.encode()
        return len(text).to_bytes(4, "big") + text + self.row

    @staticmethod
    def of_handle(handle: bytes) -> "Statement":
        """The statement of a handle.

        Raises:
            NotFlightSql: it is not one of ours.
        """
        end = 4 + int.from_bytes(handle[:4], "big")
        try:
            if len(handle) < end:
                raise NotFlightSql("The handle of the statement is not one of this service.")
            return Statement(handle[4:end].decode(), handle[end:])
        except UnicodeDecodeError as error:
            raise NotFlightSql("The query is not UTF-8.") from error

    @staticmethod
    def of(text: str, values: pa.RecordBatch | None) -> "Statement":
        """A query with one row of values."""
        if values is None or not values.num_columns:
            return Statement(text)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, values.schema) as writer:
            writer.write_batch(values)
        return Statement(text, sink.getvalue().to_pybytes())

    def values(self) -> list[tuple[str, Any]]:
        """The values, each with the name of its column, in their order."""
        if not self.row:
            return []
        try:
            row = pa.ipc.open_stream(self.row).read_all()
            return [(name, column[0].as_py()) for name, column in zip(row.column_names, row.columns, strict=True)]
        except (pa.ArrowException, IndexError, OSError) as error:
            raise NotFlightSql("The values of the parameters cannot be read.") from error

"""Readers and writers of manifests are made once for each schema: pyiceberg makes them again for each file.

The schema in a manifest's header is the same text in each that one program writes. To parse it, and to resolve it with
the schema that is asked for, took most of the time of reading a manifest of a few files. What is made has no state of
its own, and serves several threads.
"""

import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from pyiceberg.avro import file as avro_file
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import construct_reader, resolve_reader, resolve_writer
from pyiceberg.avro.writer import Writer
from pyiceberg.manifest import ManifestWriter
from pyiceberg.schema import Schema
from pyiceberg.typedef import EMPTY_DICT, StructProtocol, TableVersion
from pyiceberg.utils.schema_conversion import AvroSchemaConversion, AvroType

KEPT: Final = 32
"""Schemas of manifests and of lists of them, of a few tables and writers."""


class SameObject:
    """An object as a key, which is equal to itself only, and which the key keeps."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObject) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


@lru_cache(KEPT)
def _schema_of(text: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(text))


@lru_cache(KEPT)
def _reader(
    file: SameObject,
    wanted: SameObject,
    types: tuple[tuple[int, Callable[..., StructProtocol]], ...],
    enums: tuple[tuple[int, Callable[..., Enum]], ...],
) -> Reader:
    return resolve_reader(file.it, wanted.it, dict(types), dict(enums))


@lru_cache(KEPT)
def _writer(record: SameObject, file: SameObject) -> Writer:
    return resolve_writer(record.it, file.it)


@lru_cache(KEPT)
def _in_avro(schema: SameObject, name: str | None) -> AvroType:
    return AvroSchemaConversion().iceberg_to_avro(schema.it, name)


@lru_cache(KEPT)
def _entry_schema(spec: SameObject, schema: SameObject, version: TableVersion, make: Callable[..., Schema]) -> Schema:
    return make(_Partitioned(spec.it, schema.it), version)


class _Partitioned:
    """What `ManifestWriter` makes the schema of its entries of."""

    def __init__(self, spec: Any, schema: Schema) -> None:
        self._spec, self._schema = spec, schema


_make_entry_schema: Final[Callable[..., Schema]] = ManifestWriter._with_partition
_make_header_schema: Final = avro_file.AvroFileHeader.get_schema
_header_reader: Final = construct_reader(avro_file.META_SCHEMA, {-1: avro_file.AvroFileHeader})


class QuickConversion(AvroSchemaConversion):
    """Converts the schema of a file that is written once."""

    def iceberg_to_avro(self, schema: Schema, schema_name: str | None = None) -> AvroType:
        return _in_avro(SameObject(schema), schema_name)


def _get_schema(header: avro_file.AvroFileHeader) -> Schema:
    text = header.meta.get(avro_file._SCHEMA_KEY)
    return _make_header_schema(header) if text is None else _schema_of(text)


def _read_header(file: avro_file.AvroFile[Any]) -> Any:
    return _header_reader.read(file.decoder)


def _resolved_reader(
    file_schema: Schema,
    read_schema: Schema,
    read_types: Mapping[int, Callable[..., StructProtocol]] = EMPTY_DICT,
    read_enums: Mapping[int, Callable[..., Enum]] = EMPTY_DICT,
) -> Reader:
    types, enums = tuple(read_types.items()), tuple(read_enums.items())
    return _reader(SameObject(file_schema), SameObject(read_schema), types, enums)


def _resolved_writer(record_schema: Schema, file_schema: Schema) -> Writer:
    return _writer(SameObject(record_schema), SameObject(file_schema))


def _with_partition(writer: ManifestWriter, format_version: TableVersion) -> Schema:
    return _entry_schema(SameObject(writer._spec), SameObject(writer._schema), format_version, _make_entry_schema)


_quick: Final[dict[Any, dict[str, Any]]] = {
    avro_file: {
        "resolve_reader": _resolved_reader,
        "resolve_writer": _resolved_writer,
        "AvroSchemaConversion": QuickConversion,
    },
    avro_file.AvroFileHeader: {"get_schema": _get_schema},
    avro_file.AvroFile: {"_read_header": _read_header},
    ManifestWriter: {"_with_partition": _with_partition},
}
"""What is put in place of pyiceberg's own: no parameter chooses any of them."""

for place, names in _quick.items():
    for name, quick in names.items():
        setattr(place, name, quick)

"""Records of Avro in Confluent's wire format, as a producer writes them."""

import io
import struct
from typing import Any

import fastavro


def encoded(schema: Any, value: Any, *named: Any) -> bytes:
    """A value by its schema, which may name types of others."""
    types: dict[str, Any] = {}
    for one in named:
        fastavro.parse_schema(one, named_schemas=types)
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema, named_schemas=types), value)
    return written.getvalue()


def framed(number: int, body: bytes) -> bytes:
    """A record value of a schema's number."""
    return struct.pack(">bI", 0, number) + body

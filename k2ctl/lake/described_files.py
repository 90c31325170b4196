"""Data files that one process has written and another commits: their whole description as text, and back.

A description has all that Iceberg knows of a file: place, partition, statistics and bounds of each column, sort order.
Only files of k2ctl are described, so a partition value is a number of hours, days, months or years, or none.
"""

import base64
import binascii
import itertools
from collections.abc import Sequence
from typing import Any, Final

import orjson
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

_COUNTS: Final = ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")
_BOUNDS: Final = ("lower_bounds", "upper_bounds")
_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError)


def described(file: DataFile) -> bytes:
    """The description of a data file that `files.write_rows` made."""
    document: dict[str, Any] = {
        "file_path": file.file_path,
        "partition": [_whole(file.partition[at]) for at in range(len(file.partition))],
        "record_count": file.record_count,
        "file_size_in_bytes": file.file_size_in_bytes,
        "split_offsets": file.split_offsets,
        "sort_order_id": file.sort_order_id,
    }
    document |= {name: _columns(getattr(file, name)) for name in _COUNTS}
    document |= {name: _columns(_texts(getattr(file, name))) for name in _BOUNDS}
    return orjson.dumps(document)


def files_in(descriptions: Sequence[bytes]) -> list[DataFile] | None:
    """The data files of an offer; None where a description is none of ours."""
    try:
        return [_file(orjson.loads(description)) for description in descriptions]
    except _DAMAGE:
        return None


def _file(document: dict[str, Any]) -> DataFile:
    statistics: dict[str, Any] = {name: _counts(document[name]) for name in _COUNTS}
    statistics |= {name: _bounds(document[name]) for name in _BOUNDS}
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=str(document["file_path"]),
        file_format=FileFormat.PARQUET,
        partition=Record(*map(_whole, document["partition"])),
        record_count=int(document["record_count"]),
        file_size_in_bytes=int(document["file_size_in_bytes"]),
        split_offsets=_wholes(document["split_offsets"]),
        sort_order_id=_whole(document["sort_order_id"]),
        equality_ids=None,
        key_metadata=None,
        **statistics,
    )


def _columns(values: dict[int, Any] | None) -> list[list[Any]] | None:
    return None if values is None else [list(values), list(values.values())]


def _texts(bounds: dict[int, bytes] | None) -> dict[int, str] | None:
    return None if bounds is None else {column: base64.b64encode(bound).decode() for column, bound in bounds.items()}


def _counts(columns: list[list[Any]] | None) -> dict[int, int] | None:
    if columns is None:
        return None
    if not {int}.issuperset(map(type, itertools.chain(*columns))):
        raise TypeError("not whole numbers")
    return dict(zip(*columns, strict=True))


def _bounds(columns: list[list[Any]] | None) -> dict[int, bytes] | None:
    if columns is None:
        return None
    ids, texts = columns
    if not {int}.issuperset(map(type, ids)):
        raise TypeError("not whole numbers")
    return dict(zip(ids, map(binascii.a2b_base64, texts), strict=True))


def _wholes(values: list[Any] | None) -> list[int] | None:
    return None if values is None else [int(value) for value in values]


def _whole(value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError("not a whole number")
    return value

"""Records of JSON as columns: the paths of a feed, extracted in the same query that maps them."""

import json
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from k2ctl.feeds.mapping import RECORDS, Parts, Prepared
from k2ctl.lake.columns import literal, quoted
from k2ctl.profiles.feed import Source

_CUT: Final = 40


class JsonRecords:
    """The columns of JSON records."""

    def __init__(self, source: Source) -> None:
        paths = list(source.paths.items())
        wanted = ", ".join(literal(path) for _, path in paths)
        columns = ", ".join(f"found[{at}] AS {quoted(name)}" for at, (name, _) in enumerate(paths, 1))
        items = "SELECT _record, _index, found IS NULL AS _bad, * EXCLUDE (_record, _index, found), "
        extract = f"json_extract_string(CASE WHEN json_valid(value) THEN value END, [{wanted}])"
        self._sql = f"({items}{columns} FROM (SELECT *, {extract} AS found FROM {RECORDS}))"  # noqa: S608

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array]) -> Parts:
        """The columns of n record values. columns: of the records, n each."""
        count = len(values)
        texts = pa.array(values, pa.binary()).cast(pa.string())
        table = pa.table(
            {
                "_record": np.arange(count),
                "_index": np.zeros(count, np.int32),
                "value": texts,
                **columns,
            }
        )
        return Parts([Prepared(table, self._sql)])

    def why_bad(self, value: bytes) -> str:
        """Why a record value is no JSON."""
        return why_not_json(value)

    def alone(self, value: bytes) -> list[bytes]:
        """The bytes of each trade of a record value that could be read."""
        return objects_of(value)


def why_not_json(value: bytes) -> str:
    """Why a record value is no JSON."""
    if not value:
        return "empty value"
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        at = error.pos
        return f"not JSON from character {at} on: {json.dumps(error.doc[at:][:_CUT], ensure_ascii=False)}"
    return "not JSON"


_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_IN_ARRAY: Final = 2
"""The depth of the objects of an array."""


def objects_of(value: bytes) -> list[bytes]:
    """The bytes of each trade of a record value that could be read."""
    if not value.lstrip().startswith(b"["):
        return [value]
    found, depth, start = list[bytes](), 0, 0
    for token in _STRING_OR_BRACKET.finditer(value):
        if token[0] in b"[{":
            depth += 1
            start = token.start() if depth == _IN_ARRAY else start
        elif token[0] in b"]}":
            depth -= 1
            if depth == _IN_ARRAY - 1:
                found.append(value[start : token.end()])
    return found

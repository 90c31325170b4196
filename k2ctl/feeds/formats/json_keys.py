"""The keys of JSON objects along a feed's paths: what is no JSON, and what has a key twice."""

from collections.abc import Iterable
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from k2ctl.feeds.formats.json_parts import steps_of
from k2ctl.lake.columns import literal

_REMEMBERED: Final = 10_000
"""Sets of keys that are known to have none twice. A topic has a few."""

_CUT: Final = 40


class KeyReader:
    """Reads the keys of the objects that some paths lead through. Each set of keys is looked at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
        """Raises:
        ValueError: a path that is none.
        """
        self._connection = connection
        self._keys = _keys_sql(
            {path[: step.start] for path in paths for step in steps_of(path) if isinstance(step.key, str)}
        )
        self._good = np.zeros(0, np.uint64)

    def faults(self, texts: pa.Array) -> dict[int, str | None]:
        """Position → the key that is there twice, or None of a text that is no JSON. texts: large_string[n]."""
        valid = f"CASE WHEN json_valid(_value) THEN hash({self._keys}) END"
        hashed = self._query(f"SELECT _value IS NULL, {valid} FROM documents", texts)  # noqa: S608
        is_absent, hashes = (column.combine_chunks() for column in hashed.columns)
        found: dict[int, str | None] = {}
        if hashes.null_count:
            no_json = hashes.is_null().to_numpy(zero_copy_only=False) & ~is_absent.to_numpy(zero_copy_only=False)
            found = dict.fromkeys(np.flatnonzero(no_json).tolist())
        there = hashes.is_valid().to_numpy(zero_copy_only=False)
        values = hashes.fill_null(0).to_numpy()
        unknown = np.flatnonzero(there & ~np.isin(values, self._good))
        return found | self._learn(texts, values, unknown) if len(unknown) else found

    def _learn(self, texts: pa.Array, hashes: np.ndarray, unknown: np.ndarray) -> dict[int, str | None]:
        """Look at sets of keys that were not seen before."""
        sets, first, which = np.unique(hashes[unknown], return_index=True, return_inverse=True)
        examples = texts.take(pa.array(unknown[first]))
        keys = self._query(f"SELECT {self._keys} FROM documents", examples)  # noqa: S608
        twice = [_twice(several) for several in keys.column(0).to_pylist()]
        good = np.array([one is None for one in twice], np.bool_)
        known = self._good if len(self._good) < _REMEMBERED else self._good[:0]
        self._good = np.concatenate([known, sets[good]])
        bad = np.flatnonzero(~good[which])
        return {int(unknown[at]): twice[which[at]] for at in bad.tolist()}

    def _query(self, sql: str, texts: pa.Array) -> pa.Table:
        self._connection.register("documents", pa.table({"_value": texts}))
        return self._connection.sql(sql).to_arrow_table()


def _keys_sql(objects: set[str]) -> str:
    """The lists of keys of objects, given by their paths."""
    plain = sorted(path for path in objects if "*" not in path)
    several = sorted(objects - set(plain))
    lists = [f"json_keys(_value, [{', '.join(map(literal, plain))}])"] if plain else []
    lists += [f"json_keys(_value, {literal(path)})" for path in several]
    return f"list_concat({', '.join(lists)})" if len(lists) > 1 else lists[0] if lists else "'none'"


def _twice(several: list[list[str] | None]) -> str | None:
    """A key that one of some lists has twice."""
    for keys in several:
        if keys is not None and len(set(keys)) < len(keys):
            return next(key for key in keys if keys.count(key) > 1)[:_CUT]
    return None

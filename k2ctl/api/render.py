"""An answer as the client wants it: JSON with its evidence, or rows as CSV, an Arrow stream or an Arrow file."""

import hashlib
import io
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pyarrow as pa
from starlette.responses import Response, StreamingResponse

from k2ctl.api.problems import PROBLEMS, Refused
from k2ctl.query.answer import Answer
from k2ctl.query.formats import csv_header, csv_lines, json_objects, write_arrow, write_arrow_stream
from k2ctl.query.proof import evidence_document, with_evidence
from k2ctl.query.texts import with_nanoseconds

JSON: Final = "application/json"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
ARROW_FILE: Final = "application/vnd.apache.arrow.file"
_PART_ROWS: Final = 5_000

_ROWS: Final[dict[str, Any]] = {"type": "object", "required": ["rows", "next", "evidence"]}
_NAMES: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["symbols", "complete"],
    "properties": {"symbols": {"type": "array", "items": {"type": "string"}}, "complete": {"type": "boolean"}},
}
_OTHERS: Final[dict[str, dict[str, Any]]] = {
    CSV: {"schema": {"type": "string"}},
    ARROW: {"schema": {"type": "string", "format": "binary"}},
    ARROW_FILE: {"schema": {"type": "string", "format": "binary"}},
}


def _described(*documents: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": "Rows, with what shows that they are all there are",
            "content": {JSON: {"schema": {"anyOf": documents}}, **_OTHERS},
        },
        304: {"description": "As the client has it"},
        **PROBLEMS,
    }


ROWS: Final = _described(_ROWS)
SYMBOLS: Final = _described(_ROWS, _NAMES)
"""What an endpoint with rows may answer, for its description; that of symbols also names alone."""


def representation(accept: str) -> str:
    """The media type to answer with; the first one of `Accept` that there is, whatever its weight.

    Raises:
        Refused: none of them is one of ours.
    """
    for item in accept.split(",") if accept.strip() else ["*/*"]:
        wanted, *parameters = (part.strip().lower() for part in item.split(";"))
        if "q=0" in parameters:
            continue
        if wanted in {"*/*", "application/*", JSON}:
            return JSON
        if wanted in {CSV, "text/*"}:
            return CSV
        if wanted in {ARROW, ARROW_FILE}:
            return wanted
    raise Refused("not-acceptable", f"There are {JSON}, {CSV}, {ARROW} and {ARROW_FILE}.")


def etag_of(*parts: object) -> str:
    """A tag that is the same when what an answer depends on is."""
    return '"' + hashlib.sha256(orjson.dumps(parts, default=str, option=orjson.OPT_NON_STR_KEYS)).hexdigest()[:32] + '"'


def rendered(answer: Answer, media: str, headers: dict[str, str], cursor: str | None = None) -> Response:
    """The response; many rows are turned into text part by part, as fast as the client takes them.

    Few are turned at once, on the thread that has them: each part costs a change of threads.
    """
    evidence = answer.evidence
    headers = {
        **headers,
        "Vary": "Accept",
        "K2-Complete": str(evidence.complete).lower(),
        "K2-Snapshot": str(evidence.snapshot_id or ""),
        "K2-Missing": "; ".join(evidence.missing).encode("ascii", "replace").decode(),
    }
    if cursor:
        headers["K2-Next-Cursor"] = cursor
    parts = _content(answer, media, cursor)
    if len(answer.table) <= _PART_ROWS:
        return Response(b"".join(parts), headers=headers, media_type=media)
    return StreamingResponse(parts, headers=headers, media_type=media)


def tagged(answer: Answer, media: str, tag: str, known: str, cursor: str | None = None) -> Response:
    """The answer with its tag, or without a body where the client has it."""
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag, "Vary": "Accept"})
    return rendered(answer, media, {"ETag": tag, "Cache-Control": "private, no-cache"}, cursor)


def _content(answer: Answer, media: str, cursor: str | None) -> Iterator[bytes]:
    if media in _WRITE_ARROW:
        return _arrow(answer.table.cast(with_evidence(answer.table.schema, answer.evidence)), media)
    table = with_nanoseconds(answer.table)
    if media == CSV:
        return _csv(table)
    return _json(table, {"next": cursor, "evidence": evidence_document(answer.evidence)})


def _json(table: pa.Table, rest: dict[str, Any]) -> Iterator[bytes]:
    yield b'{"rows":['
    for number, part in enumerate(_parts(table)):
        yield (b"," if number else b"") + json_objects(part, b",")
    yield b"]," + orjson.dumps(rest)[1:]


def _csv(table: pa.Table) -> Iterator[bytes]:
    yield csv_header(table.schema)
    for part in _parts(table):
        yield csv_lines(part)


_WRITE_ARROW: Final = {ARROW: write_arrow_stream, ARROW_FILE: write_arrow}


def _arrow(table: pa.Table, media: str) -> Iterator[bytes]:
    sink = io.BytesIO()
    _WRITE_ARROW[media](table, sink)
    content = sink.getbuffer()
    for start in range(0, len(content), 65_536):
        yield bytes(content[start : start + 65_536])


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, len(table), _PART_ROWS):
        yield table.slice(start, _PART_ROWS)

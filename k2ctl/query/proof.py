"""The evidence of an answer as JSON: how it travels, in the body of JSON and in the schema of Arrow's rows."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import pyarrow as pa

from k2ctl.query.answer import Evidence
from k2ctl.query.tail import OffsetSpan

_KEY: Final = b"k2.evidence"
_COUNTED: Final = (
    "duplicates_removed",
    "tail_records",
    "undecodable",
    "invalid",
    "more",
    "file_bytes",
    "of_files",
    "of_bytes",
)


def evidence_document(evidence: Evidence) -> dict[str, Any]:
    """The evidence as JSON; ids are texts, for they do not fit the numbers of browsers."""
    return {
        "complete": evidence.complete,
        "missing": list(evidence.missing),
        "snapshot_id": None if evidence.snapshot_id is None else str(evidence.snapshot_id),
        "committed_at_us": evidence.committed_at_us,
        "filled_from": list(evidence.topics),
        "topics": {
            span.topic: {
                "epoch": span.epoch,
                "boundary": {str(p): offset for p, offset in span.boundary.items()},
                "watermarks": {str(p): offset for p, offset in span.watermarks.items()},
            }
            for span in evidence.spans
        },
        "lake_rows": evidence.lake_rows,
        "stream_rows": evidence.tail_rows,
        "behind_records": evidence.behind_records,
        "newest_us": evidence.newest_us,
        "asked_at_us": evidence.asked_at_us,
        "answered_at_us": evidence.answered_at_us,
        "lost": evidence.lost,
        "last_trade_us": dict(evidence.last_trade_us),
        "files": evidence.files,
        "stages_ms": {name: round(ms, 2) for name, ms in evidence.stages_ms.items()},
        "notes": list(evidence.notes),
        **{name: getattr(evidence, name) for name in _COUNTED},
    }


def evidence_of_document(document: Mapping[str, Any]) -> Evidence:
    """The evidence that a document was made of; holes of the stream are only in its reasons."""
    snapshot_id = document["snapshot_id"]
    return Evidence(
        snapshot_id=None if snapshot_id is None else int(snapshot_id),
        committed_at_us=document["committed_at_us"],
        topics=tuple(document["filled_from"]),
        spans=tuple(_span(topic, span) for topic, span in document["topics"].items()),
        lake_rows=document["lake_rows"],
        tail_rows=document["stream_rows"],
        lost=document["lost"],
        newest_us=document["newest_us"],
        asked_at_us=document["asked_at_us"],
        answered_at_us=document["answered_at_us"],
        missing=tuple(document["missing"]),
        last_trade_us=document["last_trade_us"],
        files=document["files"],
        stages_ms=document["stages_ms"],
        notes=tuple(document["notes"]),
        **{name: document[name] for name in _COUNTED},
    )


def _span(topic: str, span: Mapping[str, Any]) -> OffsetSpan:
    boundary, watermarks = (
        {int(partition): offset for partition, offset in span[name].items()} for name in ("boundary", "watermarks")
    )
    return OffsetSpan(topic, span["epoch"], boundary, watermarks, {}, {})


def with_evidence(schema: pa.Schema, evidence: Evidence) -> pa.Schema:
    """The schema of rows, with where they come from in its metadata."""
    document = orjson.dumps(evidence_document(evidence))
    return schema.with_metadata({**(schema.metadata or {}), _KEY: document})


def evidence_in(schema: pa.Schema) -> Evidence | None:
    """The evidence in a schema's metadata, if it is there."""
    document = (schema.metadata or {}).get(_KEY)
    return None if document is None else evidence_of_document(orjson.loads(document))


def without_evidence(table: pa.Table) -> pa.Table:
    """The rows alone."""
    rest = {name: value for name, value in (table.schema.metadata or {}).items() if name != _KEY}
    return table.replace_schema_metadata(rest or None)

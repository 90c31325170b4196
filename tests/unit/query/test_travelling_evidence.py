"""The evidence of an answer, as it travels with its rows."""

from dataclasses import replace

import pyarrow as pa

from k2ctl.query.answer import Evidence
from k2ctl.query.proof import evidence_document, evidence_in, evidence_of_document, with_evidence, without_evidence
from k2ctl.query.tail import OffsetSpan

SPAN = OffsetSpan("trades", "an-epoch", {0: 10, 1: 20}, {0: 15, 1: 20}, {}, {})
EVIDENCE = Evidence(
    snapshot_id=2**63 - 1,
    committed_at_us=1_000_000,
    topics=("trades", "others"),
    spans=(SPAN,),
    lake_rows=7,
    tail_rows=5,
    duplicates_removed=2,
    tail_records=5,
    undecodable=1,
    invalid=3,
    lost=4,
    more=True,
    newest_us=2_500_000,
    asked_at_us=3_000_000,
    answered_at_us=3_100_000,
    missing=("something is not there",),
    last_trade_us={"BHP": 900_000},
    files=2,
    file_bytes=200,
    of_files=3,
    of_bytes=300,
    stages_ms={"pin": 1.25},
    notes=("a note",),
)


def test_the_evidence_comes_back_from_its_document() -> None:
    assert evidence_of_document(evidence_document(EVIDENCE)) == EVIDENCE
    nothing = replace(EVIDENCE, snapshot_id=None, committed_at_us=None, newest_us=None, spans=(), missing=())
    assert evidence_of_document(evidence_document(nothing)) == nothing


def test_rows_carry_it_through_an_arrow_stream_beside_what_they_carry_already() -> None:
    rows = pa.table({"a": [1]}, metadata={"mine": "kept"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, with_evidence(rows.schema, EVIDENCE)) as writer:
        writer.write_table(rows.cast(with_evidence(rows.schema, EVIDENCE)))
    received = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert evidence_in(received.schema) == EVIDENCE
    assert without_evidence(received).equals(rows, check_metadata=True)
    assert evidence_in(rows.schema) is None

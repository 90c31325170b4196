"""What the demo asserts, each with the figures it was decided on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.lake.heads import Counts
from k2ctl.query.answer import Answer


@dataclass(frozen=True)
class Check:
    """One assertion: what was claimed, whether it held, and what was measured."""

    claim: str
    held: bool
    measured: str


def complete_answer(claim: str, answer: Answer) -> Check:
    """A query in the middle of it all is complete, and its trades are numbered 1, 2, 3 … without a hole."""
    evidence = answer.evidence
    dense = is_dense(answer.table)
    sources = f"{evidence.lake_rows:,} rows from the lake, {evidence.tail_rows:,} from Kafka"
    reason = "" if evidence.complete else f"; incomplete: {', '.join(evidence.missing)}"
    hole = "" if dense else "; there is a hole in the sequence numbers"
    return Check(claim, evidence.complete and dense and len(answer.table) > 0, sources + reason + hole)


def is_dense(table: pa.Table) -> bool:
    """Whether the sequence numbers of one symbol's trades are 1 to n, each once."""
    numbers = np.sort(table["source_sequence"].to_numpy())
    return bool((numbers == np.arange(1, len(numbers) + 1)).all())


def given_back(counts: Counts, returned: int, conditions: str) -> Check:
    """Nothing of what was put aside under pressure is outstanding."""
    owed = counts.shed + counts.spilled
    measured = f"{returned:,} trades came back, {owed:,} are owed ({conditions})"
    return Check("what was put aside while the consumer lagged has been given back", not owed, measured)


def stored_once(answer: Answer, expected: int) -> Check:
    """Every trade that was produced is in the answer, once."""
    distinct = pc.count_distinct(answer.table["message_id"].combine_chunks().storage).as_py() if expected else 0
    rows = len(answer.table)
    return Check(
        "every trade produced is in the answer, exactly once",
        rows == distinct == expected and answer.evidence.complete,
        f"{expected:,} produced, {rows:,} rows, {distinct:,} distinct",
    )


def duplicates_caught(counts: Counts, sent_twice: int) -> Check:
    """Every retransmission was recognised, and nothing else."""
    return Check(
        "every retransmission was recognised, also across the kill",
        counts.duplicate == sent_twice > 0,
        f"{sent_twice:,} sent twice, {counts.duplicate:,} dropped as duplicates",
    )


def books_balance(counts: Counts, acknowledged: int) -> Check:
    """seen = stored + duplicate + shed + spilled + lost + dead-lettered."""
    parts = f"{counts.stored:,} stored + {counts.duplicate:,} duplicate"
    others = counts.shed + counts.spilled + counts.lost + counts.dead_lettered
    return Check(
        "the books balance: nothing is unaccounted for",
        counts.balanced and counts.seen == acknowledged,
        f"{counts.seen:,} seen = {parts} + {others:,} other, {acknowledged:,} acknowledged by Kafka",
    )

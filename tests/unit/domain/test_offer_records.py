"""Offers and answers as records of Kafka: they come back whole or not at all, and no record ends whoever reads it."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import COUNT_NAMES, Checkpoint, Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.cut_records import LARGEST_RECORD, MOST_UNFINISHED, CutDocuments, cut
from k2ctl.domain.ledger import DeferredRange, Ledger, LedgerChange
from k2ctl.domain.offer_records import answer_document, answer_in, offer_document, offer_in
from k2ctl.domain.offers import CommitterAnswer, Layout, Offer, Refusal
from k2ctl.domain.recorded_feeds import RecordedFeed

names, numbers = st.text(max_size=5), st.integers(0, 2**62)
counts = st.builds(Counts, *[st.integers(-(2**40), 2**40)] * len(COUNT_NAMES))
partitions = st.builds(TopicPartition, names, names, st.integers(-1, 2**31))
deltas = st.tuples(numbers, st.integers(0, 2**30), counts, st.none() | names).map(
    lambda parts: OffsetDelta(parts[0], parts[0] + parts[1], parts[2], parts[3])
)
whole = st.integers(0, 2**40)
entries = st.builds(
    DeferredRange, names, names, whole, whole, whole, whole, names, whole, whole, whole, whole, names, st.booleans()
)
changes = st.builds(
    LedgerChange,
    st.lists(entries, max_size=2).map(tuple),
    st.lists(st.tuples(entries, st.none() | entries), max_size=2).map(tuple),
)
offers = st.builds(
    Offer,
    id=names,
    table=names,
    layout=st.builds(Layout, st.integers(0, 9), st.integers(0, 9)),
    deltas=st.dictionaries(partitions, deltas, min_size=1, max_size=4),
    change=changes,
    corrected=st.frozensets(st.binary(max_size=8), max_size=3),
    feeds=st.dictionaries(names, st.none() | st.builds(RecordedFeed, names, names, names, names), max_size=2),
    written_us=numbers,
    urgent=st.booleans(),
    files=st.lists(st.binary(max_size=40), max_size=3).map(tuple),
)
checkpoints = st.builds(
    Checkpoints,
    names,
    whole,
    st.dictionaries(partitions, st.builds(Checkpoint, whole, counts, names), max_size=4),
    st.lists(entries, max_size=3).map(lambda found: Ledger(tuple(found))),
)
answers = st.builds(
    CommitterAnswer,
    names,
    names,
    st.none() | numbers,
    st.frozensets(names, max_size=3),
    st.dictionaries(names, st.sampled_from(Refusal), max_size=3),
    checkpoints,
)
OFFER = Offer("id", "table", Layout(0, 1), {TopicPartition("t", "e", 0): OffsetDelta(5, 9, Counts(4, 4), "base")})


@settings(max_examples=50)
@given(offers)
def test_an_offer_comes_back_as_it_was(offer: Offer) -> None:
    assert offer_in(offer_document(offer)) == offer


@settings(max_examples=50)
@given(answers)
def test_an_answer_comes_back_as_it_was(answer: CommitterAnswer) -> None:
    assert answer_in(answer_document(answer)) == answer


@settings(max_examples=50)
@given(
    st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | names, lambda of: st.lists(of, max_size=3)), st.data()
)
def test_a_damaged_document_is_none_and_no_error(value: Any, data: st.DataObject) -> None:
    for document, read in ((offer_document(OFFER), offer_in), (answer_document(ANSWER), answer_in)):
        fields = orjson.loads(document)
        field = data.draw(st.sampled_from(sorted(fields)))
        found = read(orjson.dumps({**fields, field: value}))
        assert found is None or hash(repr(found))
        assert read(orjson.dumps({name: fields[name] for name in fields if name != field})) is None
        assert read(document[: data.draw(st.integers(0, len(document) - 1))]) is None
        assert read(orjson.dumps(value)) is None


ANSWER = CommitterAnswer("table", "commit", 7, frozenset(["a"]), {"b": Refusal.BEHIND}, Checkpoints("commit", 3))


def test_an_offer_is_no_answer_and_an_answer_no_offer() -> None:
    assert answer_in(offer_document(OFFER)) is None
    assert offer_in(answer_document(ANSWER)) is None


def test_no_record_is_larger_than_200_kb_however_large_the_document() -> None:
    document = random.Random(1).randbytes(3_000_000)
    records = cut(document)
    assert len(records) > 10
    assert max(map(len, records)) <= LARGEST_RECORD <= 200_000
    assert [*CutDocuments().all_of([*records])] == [document]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.randoms(), st.sets(st.integers(0, 40)))
def test_documents_come_back_from_records_in_any_order_doubled_and_among_others(
    documents: list[bytes], rng: random.Random, lost: set[int]
) -> None:
    cuts = [cut(document, 100) for document in documents]
    records = [record for pieces in cuts for record in pieces]
    arrive = [record for number, record in enumerate(records) if number not in lost]
    every: list[bytes | None] = [*arrive, *arrive, None, b"", b"another program's", b"K2CUT1" + bytes(40)]
    rng.shuffle(every)
    found = [*CutDocuments().all_of(every)]
    whole_ones = {document for document, pieces in zip(documents, cuts, strict=True) if set(pieces) <= set(arrive)}
    assert set(found) == whole_ones


@settings(max_examples=50)
@given(st.integers(0, 10**9), st.integers(0, 7))
def test_a_record_with_a_changed_bit_is_passed_over(at: int, bit: int) -> None:
    record = bytearray(cut(b"a document")[0])
    record[at % len(record)] ^= 1 << bit
    documents = CutDocuments()
    assert documents.add(bytes(record)) is None
    assert documents.strange == 1


def test_unfinished_documents_are_given_up_from_the_oldest_on() -> None:
    documents, first = CutDocuments(), cut(random.Random(0).randbytes(500), 300)
    assert len(first) > 1
    documents.add(first[0])
    for number in range(MOST_UNFINISHED):
        documents.add(cut(random.Random(number + 1).randbytes(500), 300)[0])
    assert [*documents.all_of([*first[1:]])] == []


def test_what_unpacks_to_more_than_a_document_may_be_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    records = cut(bytes(100_000))
    monkeypatch.setattr("k2ctl.domain.cut_records.LARGEST_DOCUMENT", 1_000)
    assert [*CutDocuments().all_of([*records])] == []
    with pytest.raises(ValueError, match="too large"):
        cut(bytes(100_000))


def test_an_offer_of_no_partition_is_none() -> None:
    assert offer_in(offer_document(replace(OFFER, deltas={}))) is None

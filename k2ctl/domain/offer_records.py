"""Offers and answers as documents, which `cut_records` cuts into records of Kafka. What cannot be read is None."""

import base64
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any, Final, get_type_hints

import orjson

from k2ctl.domain.checkpoint import COUNT_NAMES, Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import DeferredRange, Ledger, LedgerChange
from k2ctl.domain.offers import CommitterAnswer, Layout, Offer, Refusal
from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.errors import LakeError

_OFFER: Final = "k2 offer 1"
_ANSWER: Final = "k2 answer 1"
_KINDS: Final = list(get_type_hints(DeferredRange).values())
_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError, IndexError, LakeError)


def offer_document(offer: Offer) -> bytes:
    """An offer with the descriptions of its files."""
    document = {
        "kind": _OFFER,
        "id": offer.id,
        "table": offer.table,
        "layout": list(offer.layout),
        "deltas": [[*at, d.start, d.end, d.base, *astuple(d.counts)] for at, d in offer.deltas.items()],
        "added": [astuple(entry) for entry in offer.change.added],
        "resolved": [[astuple(of), None if left is None else astuple(left)] for of, left in offer.change.resolved],
        "corrected": [_text(symbol) for symbol in sorted(offer.corrected)],
        "feeds": {topic: None if feed is None else list(feed) for topic, feed in offer.feeds.items()},
        "written_us": offer.written_us,
        "urgent": offer.urgent,
        "files": [_text(file) for file in offer.files],
    }
    return orjson.dumps(document)


def offer_in(document: bytes) -> Offer | None:
    """The offer of a document; None where it is none."""
    try:
        found = orjson.loads(document)
        if found["kind"] != _OFFER or not found["deltas"]:
            return None
        return Offer(
            id=_str(found["id"]),
            table=_str(found["table"]),
            layout=Layout(*map(_int, found["layout"])),
            deltas=dict(map(_delta, found["deltas"])),
            change=_change(found["added"], found["resolved"]),
            corrected=frozenset(map(_bytes, found["corrected"])),
            feeds={_str(topic): _feed(row) for topic, row in found["feeds"].items()},
            written_us=_int(found["written_us"]),
            urgent=bool(found["urgent"]),
            files=tuple(map(_bytes, found["files"])),
        )
    except _DAMAGE:
        return None


def answer_document(answer: CommitterAnswer) -> bytes:
    """A committer's answer with the table's checkpoints and ledger."""
    document = {
        "kind": _ANSWER,
        "table": answer.table,
        "commit_id": answer.commit_id,
        "snapshot_id": answer.snapshot_id,
        "stored": sorted(answer.stored),
        "refused": {offer_id: refusal.name for offer_id, refusal in answer.refused.items()},
        "checkpoints": answer.checkpoints.dumps(),
        "ledger": answer.checkpoints.ledger.dumps().decode(),
    }
    return orjson.dumps(document)


def answer_in(document: bytes) -> CommitterAnswer | None:
    """The answer of a document; None where it is none."""
    try:
        found = orjson.loads(document)
        if found["kind"] != _ANSWER:
            return None
        checkpoints = Checkpoints.loads(found["checkpoints"])
        return CommitterAnswer(
            table=_str(found["table"]),
            commit_id=_str(found["commit_id"]),
            snapshot_id=None if found["snapshot_id"] is None else _int(found["snapshot_id"]),
            stored=frozenset(map(_str, found["stored"])),
            refused=_refused(found["refused"]),
            checkpoints=replace(checkpoints, ledger=Ledger.loads(found["ledger"])),
        )
    except _DAMAGE:
        return None


def _delta(row: list[Any]) -> tuple[TopicPartition, OffsetDelta]:
    topic, epoch, partition, start, end, base, *counts = row
    if len(counts) != len(COUNT_NAMES) or not 0 <= _int(start) <= _int(end):
        raise ValueError("not a delta")
    at = TopicPartition(_str(topic), _str(epoch), _int(partition))
    return at, OffsetDelta(start, end, Counts(*map(_int, counts)), None if base is None else _str(base))


def _change(added: list[Any], resolved: list[Any]) -> LedgerChange:
    resolutions = tuple((_entry(of), None if left is None else _entry(left)) for of, left in resolved)
    return LedgerChange(tuple(map(_entry, added)), resolutions)


def _entry(row: list[Any]) -> DeferredRange:
    if [type(value) for value in row] != _KINDS:
        raise TypeError("not an entry of a ledger")
    return DeferredRange(*row)


def _feed(row: list[Any] | None) -> RecordedFeed | None:
    return None if row is None else RecordedFeed(*map(_str, row))


def _refused(names: Mapping[str, str]) -> dict[str, Refusal]:
    return {_str(offer_id): Refusal[name] for offer_id, name in names.items()}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _int(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _str(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value

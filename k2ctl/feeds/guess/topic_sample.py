"""A sample of a topic's records as columns."""

from k2ctl.errors import UsageError
from k2ctl.feeds.check.topic_parts import are_own, text_of
from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.document import FeedSample
from k2ctl.feeds.guess.json_layout import JsonLayout, layout_of
from k2ctl.feeds.guess.registry_sample import is_framed, sample_of_registry, schema_number
from k2ctl.kafka.reader import Fetched


def sample_of_topic(topic: str, fetched: Fetched, registry: str = "") -> FeedSample:
    """The trades of some records, which have their keys beside them. registry: the address of their schemas'.

    Raises:
        UsageError: they are K2's own, or of no format that says its columns.
        RegistryUnanswered: the registry does not answer.
    """
    values = [value for value in fetched.values if value.strip()]
    if not values:
        raise UsageError(f"The records of {topic} are empty.", "Wait until its producer has sent others.")
    if are_own(values):
        raise UsageError(f"{topic} holds K2's own records.", "They need no feed: k2ctl consume")
    if registry and any(is_framed(value) for value in values):
        return sample_of_registry(topic, fetched, registry)
    if not any(_may_be_json(value) for value in values):
        raise _unknown(topic, values[-1])
    layout = layout_of(values)
    if not layout.columns:
        raise _unknown(topic, values[-1])
    settings = {"topic": topic} | ({} if layout.trades is None else {"trades": layout.trades})
    remarks = [f"{layout.broken:,} records or lines are no JSON."] if layout.broken else []
    record = [*layout.record, *_keys(fetched, layout)]
    return FeedSample(topic, "json", layout.columns, record, settings, of_files=False, remarks=remarks)


def _may_be_json(value: bytes) -> bool:
    return value.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _unknown(topic: str, value: bytes) -> UsageError:
    if is_framed(value):
        return UsageError(
            f"The records of {topic} are Avro or Protobuf: a registry has their schema {schema_number(value)}.",
            f"Say where it is: k2ctl feed guess {topic} --registry http://localhost:8081",
        )
    shown = text_of(value)
    return UsageError(
        f"The records of {topic} are none that say their columns. The newest: {shown[:80]}{'…' * (len(shown) > 80)}",
        "Begin with a feed that is like it: k2ctl feed list; k2ctl feed show NAME",
    )


def _keys(fetched: Fetched, layout: JsonLayout) -> list[SampleColumn]:
    """The records' keys as a column, where each record is one trade."""
    keys = fetched.beside.get("kafka_key", [])
    if layout.broken or len(keys) != len(layout.columns[0].values):
        return []
    texts = tuple(None if key is None else key.decode("utf-8", "replace") for key in keys)
    return [SampleColumn("kafka_key", texts, kind="BLOB", is_around=True)]

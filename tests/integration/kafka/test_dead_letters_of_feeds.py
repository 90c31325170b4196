"""Dead letters of a feed keep all that the feed needs of a record: value, key, headers and time."""

import time
from pathlib import Path

from confluent_kafka import Producer

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import producer_config
from k2ctl.kafka.dead_letters import read_dead_letters, retry
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from tests.support.platforms import catch_up, empty_market

FEED = """
description: Made up
source: {format: json, columns: [id, PRICE, size]}
trade:
  symbol: kafka_key::VARCHAR
  exchange: "'MADE'"
  asset_class: "'crypto'"
  currency: kafka_headers['currency']::VARCHAR
  timestamp: kafka_timestamp
  price: PRICE
  quantity: size
  trade_id: id
identity: [id]
"""


def profile_with(profile: Profile, feed: Path, price: str) -> Profile:
    feed.write_text(FEED.replace("PRICE", price))
    return profile.model_copy(update={"topic": profile.topic.model_copy(update={"feed": str(feed)})})


def test_once_the_feed_is_corrected_its_dead_letters_are_stored_with_the_key_headers_and_time_that_they_came_with(
    endpoints: Endpoints, exchange: str, tmp_path: Path
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    at_ms = time.time_ns() // 1_000_000 - 60_000
    producer = Producer(producer_config(endpoints))
    for number in range(3):
        value = f'{{"id": {number}, "p": "1.5", "size": "2"}}'.encode()
        headers = [("currency", b"USDT"), ("k2-mine", b"x")]
        producer.produce(topic, value, f"S{number}".encode(), 0, timestamp=at_ms + number, headers=headers)
    assert producer.flush(20) == 0
    catch_up(endpoints, profile_with(profile, tmp_path / "wrong.yaml", "price"))
    dead_letters = read_dead_letters(endpoints, topic).found
    assert [(one.key, one.timestamp_ms) for one in dead_letters] == [(f"S{n}".encode(), at_ms + n) for n in range(3)]
    assert {one.headers for one in dead_letters} == {(("currency", b"USDT"),)}

    right = profile_with(profile, tmp_path / "right.yaml", "p")
    assert retry(endpoints, dead_letters) == 3
    catch_up(endpoints, right)
    with Lake.at(endpoints) as lake:
        rows = lake.table().scan(selected_fields=("symbol", "currency", "timestamp", "trade_id")).to_arrow().to_pylist()
    found = sorted((r["symbol"], r["currency"], r["trade_id"], r["timestamp"].timestamp() * 1000) for r in rows)
    assert [(*row[:3], round(row[3])) for row in found] == [(f"S{n}", "USDT", n, at_ms + n) for n in range(3)]

"""Records of another layout than this version's: refused by name, and never read as if they were trades of today."""

import json
import struct

import pytest

from k2ctl.cli import main
from k2ctl.domain.topics import dead_letter_topic, reference_topic_of
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import read_between
from k2ctl.lake.catalog import Lake
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import frames, ids_of, make_trades, produce_values, stored_ids
from tests.support.platforms import catch_up, empty_market

OLDER_SCHEMA = 7202
OLDER_TRADE = struct.pack("<4H", 104, 1, OLDER_SCHEMA, 1) + bytes(range(104))
OLDER_REFERENCE = struct.pack("<4H", 56, 2, OLDER_SCHEMA, 1) + bytes(range(56))


def test_records_of_an_older_schema_are_dead_letters_that_name_it(
    endpoints: Endpoints, exchange: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_endpoints(endpoints)
    profile, topic = empty_market(endpoints, exchange)
    trades = make_trades(40)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(reference_topic_of(topic), 1)
    produce_values(endpoints, reference_topic_of(topic), [(0, OLDER_REFERENCE)])
    good = [(0, value) for value in frames(trades, 4)]
    # One alone, a frame of several, and one in a frame with trades of today.
    older = [OLDER_TRADE, OLDER_TRADE * 3, trades[:1].tobytes() + OLDER_TRADE]
    produce_values(endpoints, topic, [*good, *((0, value) for value in older)])
    with Session(Lake.at(endpoints), KafkaStream(endpoints, topic)) as session:
        evidence = session.recent(None).evidence
    assert (evidence.tail_rows, evidence.undecodable) == (40, 3)
    consumer = catch_up(endpoints, profile)
    assert stored_ids(endpoints) == ids_of(trades)
    assert (consumer.counts().undecodable, consumer.counts().balanced) == (3, True)
    fetched, _, _ = read_between(endpoints, dead_letter_topic(topic), {0: (0, 3)}, 10.0, 10)
    assert fetched.values == older
    assert main(["dead-letters", "list", "--json", "--topic", topic]) == ExitCode.OK
    counts = {one["cause"]: one["count"] for one in json.loads(capsys.readouterr().out)["counts"]}
    assert counts == {"schema id: not 7203": 2, "N bytes are not whole messages of 200": 1}

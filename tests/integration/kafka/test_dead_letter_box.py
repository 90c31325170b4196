"""Dead letters that lie in Kafka: listed, shown and sent again, each once."""

import json
import re
import time

import numpy as np
import pytest

from k2ctl.cli import main
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.domain.trade import frames
from k2ctl.domain.validity import FUTURE_TOLERANCE_US
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import BrokerError, ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import DeadLetter, DeadLetters, read_dead_letters, retry
from k2ctl.profiles import Profile
from tests.made_trades import ids_of, make_trades, produce_values, stored_ids
from tests.support.platforms import catch_up

SOON_US = 4_000_000


def good_soon(count: int) -> np.ndarray:
    """Trades that are too far ahead now, and are not in some seconds."""
    trades = make_trades(count)
    trades["event_ns"] = (time.time_ns() // 1000 + FUTURE_TOLERANCE_US + SOON_US) * 1000
    return trades


def test_dead_letters_are_sent_again_once_and_stored_once_if_they_are_good_by_then(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    mixed, alone = good_soon(3), good_soon(5)[3:]
    mixed["event_ns"][1] -= 10_000_000_000_000  # of this frame one trade is good already
    produce_values(endpoints, topic, [(0, frames(mixed, 3)[0]), *((1, value) for value in frames(alone, 1))])
    produce_values(endpoints, topic, [(2, b"no trade at all")])
    first = catch_up(endpoints, profile)
    assert (first.totals.stored, first.counts().dead_lettered, first.counts().undecodable) == (1, 4, 1)
    dead_letters = read_dead_letters(endpoints, topic).found
    assert sorted((one.partition, one.offset, one.index) for one in dead_letters if one.index is not None) == [
        (0, 0, 0), (0, 0, 2), (1, 0, 0), (1, 1, 0),
    ]  # fmt: skip
    assert {one.value for one in dead_letters if one.partition} == {*frames(alone, 1), b"no trade at all"}
    time.sleep(SOON_US / 1e6 + 0.5)

    assert retry(endpoints, dead_letters) == 5
    again = catch_up(endpoints, profile)
    assert stored_ids(endpoints) == ids_of(np.concatenate([mixed, alone]))
    assert again.counts().balanced
    assert (again.counts().stored, again.counts().dead_lettered, again.counts().undecodable) == (5, 4, 2)
    known = read_dead_letters(endpoints, topic).found
    assert sorted(one.retried for one in known) == [False, True, True, True, True, True]
    assert [one.value for one in known if not one.retried] == [b"no trade at all"]
    assert retry(endpoints, [one for one in known if one.retried]) == 0
    with BrokerAdmin(endpoints) as admin:
        assert sum(mark.high for mark in admin.watermarks(topic).values()) == 4 + 5


def test_a_dead_letter_that_was_published_twice_is_one_and_is_sent_once(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(dead_letter_topic(topic), 1)
    dead_letter = DeadLetter(3, 17, None, "made for a test", b"bytes")
    for _ in range(2):
        DeadLetters(endpoints, topic, "epoch").publish([dead_letter])
    (found,) = read_dead_letters(endpoints, topic).found
    assert (found.copies, found.epoch, found.partition, found.offset) == (2, "epoch", 3, 17)
    assert retry(endpoints, [found]) == 1
    (found,) = read_dead_letters(endpoints, topic).found
    assert found.retried


def test_what_another_program_wrote_there_is_shown_and_a_topic_that_is_gone_is_reported(
    endpoints: Endpoints, topic: str
) -> None:
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic("orphan.dlq", 1)
    produce_values(endpoints, "orphan.dlq", [(0, b"?")])
    (found,) = read_dead_letters(endpoints, "orphan").found
    assert (found.topic, found.place, found.size) == ("orphan", "0:0", 1)
    with pytest.raises(BrokerError, match="orphan is gone"):
        retry(endpoints, [found])
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic("orphan.dlq")


def test_the_commands_list_show_and_retry(
    endpoints: Endpoints, profile: Profile, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, code: ExitCode = ExitCode.OK) -> str:
        capsys.readouterr()
        assert main(["dead-letters", *arguments, "--topic", topic]) == code
        received = capsys.readouterr()
        return received.out + received.err

    save_endpoints(endpoints)
    assert "no dead letter" in said("list")
    far = make_trades(2)
    far["event_ns"] = (time.time_ns() // 1000 + 10 * FUTURE_TOLERANCE_US) * 1000
    produce_values(endpoints, topic, [*((0, value) for value in frames(far, 1)), (1, b'{"half": ')])
    catch_up(endpoints, profile)

    listed = json.loads(said("list", "--json", "--limit", "1"))
    assert (listed["dead_letters"], len(listed["newest"])) == (3, 1)
    first = listed["counts"][0]
    assert re.fullmatch(r"timestamp is [0-9T:.-]+Z, more than 5 minutes ahead of the clock", first.pop("example"))
    cause = "timestamp: more than 5 minutes ahead of the clock"
    assert first == {"topic": topic, "cause": cause, "count": 2, "retried": 0}
    assert json.loads(said("list", "--json", "--reason", cause))["dead_letters"] == 2
    assert json.loads(said("list", "--json", "--reason", "5 minutes", "--since", "1h"))["dead_letters"] == 2
    assert "dead-letters show PLACE" in said("list")
    shown = [json.loads(said("show", f"0:{number}", "--json")) for number in range(3)]
    by_record = {(one["partition"], one["offset"]): one for one in shown}
    assert by_record[0, 1]["hex"] == frames(far, 1)[1].hex()
    assert by_record[0, 1]["trades"][0]["symbol"] == "S01"
    assert (by_record[1, 0]["text"], by_record[1, 0]["trades"]) == ('{"half": ', [])
    assert '{"half": ' in said("show", by_record[1, 0]["place"])
    assert "no dead letter at 9:9" in said("show", "9:9", code=ExitCode.USAGE)

    assert "3 would be sent again" in said("retry", "--dry-run")
    assert "--yes" in said("retry", code=ExitCode.USAGE)
    assert json.loads(said("retry", "--json", "--dry-run"))["to_send"] == 3
    sent = json.loads(said("retry", "--reason", "5 minutes", "--yes", "--json"))
    assert (sent["sent"], sent["sent_before"]) == (2, 0)
    again = json.loads(said("retry", "--reason", "5 minutes", "--yes", "--json"))
    assert (again["sent"], again["sent_before"]) == (0, 2)

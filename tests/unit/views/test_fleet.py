"""Consumers in the background as rows: short, and each says what runs it."""

import io

import pytest
from rich.console import Console

from k2ctl.stack.fleet import Member
from k2ctl.views.consume import ended_line, fleet_table, ranges


@pytest.mark.parametrize(
    ("partitions", "shown"),
    [
        ((), ""),
        ((3,), "3"),
        ((4, 0, 2), "0 2 4"),
        (range(12), "0-11"),
        (range(0, 12, 2), "0,2…10"),
        ((0, 1, 2, 5), "0 1 2 5"),
    ],
)
def test_partitions_are_written_short(partitions: tuple[int, ...], shown: str) -> None:
    assert ranges(tuple(partitions)) == shown


def test_of_several_topics_the_partitions_are_counted() -> None:
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(fleet_table([Member("consumer-1", "running", 1, partitions=(0, 0, 1), topics=("a", "b"))], 0.0))
    assert "3 of 2 topics" in captured.get()


def test_the_table_fits_eighty_columns_and_names_process_or_container() -> None:
    found = [
        Member(
            "consumer-1", "running", 123456, None, 1, "CIRCUIT_BREAK", tuple(range(0, 960, 3)), 12_345_678, 250_000.0
        ),
        Member("consumer-2", "exited", None, "k2-consumer-2"),
    ]
    canvas = Console(width=80, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(fleet_table(found, 100.0))
    text = captured.get()
    assert "pid 123456" in text
    assert "k2-consumer-2" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_a_stopped_consumer_did_is_said_and_what_a_killed_one_left() -> None:
    done = {"trades": 9, "stored": 1234, "commits": 5, "left_in_kafka": 7}
    assert "1,234 trades stored in 5 commits, 7 left in Kafka" in ended_line(Member("c", "exited", 1, done=done))
    assert "nothing is lost" in ended_line(Member("c", "exited", 1))

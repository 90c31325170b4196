"""The logs of all consumers in the background as one, by the times of their lines."""

from pathlib import Path

from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.stack.consumer_logs import newest_log_lines
from k2ctl.stack.processes import TAIL_BYTES, log_path, newest_lines
from k2ctl.stack.replicas import registered


def at(second: int, text: str) -> str:
    return f"2026-11-30T22:13:{second:02}.000Z {text}"


def test_lines_are_merged_by_time_and_a_traceback_stays_behind_its_line(home: Path) -> None:
    where = Home(home)
    logs = {
        "consumer-1": [at(1, "INFO    k2ctl.lake  committed"), "Traceback", "  line 3", at(5, "INFO    ended")],
        "consumer-2": [at(3, "WARNING k2ctl.kafka  away")],
    }
    for name, lines in logs.items():
        with registered(name, where):
            log_path(name, where).write_text("".join(f"{line}\n" for line in lines))
    with registered("consumer-3", where):
        pass
    endpoints = Endpoints("embedded", "127.0.0.1:1", "sqlite://", "file:///nowhere", home=where)
    assert newest_log_lines(endpoints, 10) == [
        "22:13:01.000Z consumer-1 INFO    k2ctl.lake  committed",
        "Traceback",
        "  line 3",
        "22:13:03.000Z consumer-2 WARNING k2ctl.kafka  away",
        "22:13:05.000Z consumer-1 INFO    ended",
    ]
    assert newest_log_lines(endpoints, 1)[-1].endswith("ended")


def test_of_a_long_log_only_the_end_is_read_and_no_line_is_cut(home: Path) -> None:
    lines = [f"{number:09}" for number in range(TAIL_BYTES // 5)]
    log_path("kafka", Home(home)).write_text("".join(f"{line}\n" for line in lines))
    assert newest_lines("kafka", Home(home), 3) == lines[-3:]
    assert set(newest_lines("kafka", Home(home), 10**6)) <= set(lines)

"""The process that answers the shell's queries: within its limits, and replaced when it was ended."""

import json
import threading
from pathlib import Path

import psutil
import pytest

from k2ctl.commands.shell.process import Answering
from k2ctl.commands.shell.worker import AskedQuery
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode, K2Error, TooLong
from k2ctl.log import LogSettings
from tests.support.platforms import with_lake
from tests.support.polling import until

ONE_LONG_CALL = "SELECT length(regexp_replace(repeat('ab', 200000000), '(a|b)*c', 'x', 'g'))"
"""DuckDB does not look at its limits for seconds."""


@pytest.fixture(autouse=True)
def stack(embedded_stack: Endpoints, home: Path) -> None:
    save_endpoints(with_lake(embedded_stack, home))


def question(text: str, seconds: float = 60.0, **parameters: str) -> AskedQuery:
    return AskedQuery(text, "json", None, parameters, seconds, 4096)


def worker() -> psutil.Process:
    (found,) = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    return found


def test_questions_are_answered_by_one_process(capfd: pytest.CaptureFixture[str]) -> None:
    with Answering(LogSettings()) as answering:
        process = worker()
        assert answering.ask(question("SELECT $a AS a", a="'", unused="x")).code == ExitCode.OK
        assert answering.ask(question("SELECT nothing")).code == ExitCode.USAGE
        assert answering.ask(question("DROP VIEW trades")).code == ExitCode.USAGE
        assert worker() == process
        shown = capfd.readouterr()
        assert json.loads(shown.out) == [{"a": "'"}]
        assert "complete" in shown.err
        names = answering.named(symbols=True)
        assert "price" in names.columns["trades"]
        assert names.symbols is not None


def test_a_query_that_does_not_end_is_ended_with_its_process() -> None:
    with Answering(LogSettings()) as answering:
        process = worker()
        with pytest.raises(TooLong):
            answering.ask(question(ONE_LONG_CALL, seconds=0.5))
        assert not process.is_running()
        assert answering.ask(question("SELECT 1 AS n")).code == ExitCode.OK
        killing = threading.Thread(target=kill_while_it_works, args=(worker(),))
        killing.start()
        with pytest.raises(K2Error, match="SIGKILL"):
            answering.ask(question(ONE_LONG_CALL))
        killing.join()


def kill_while_it_works(process: psutil.Process) -> None:
    before_s = process.cpu_times().user
    until(lambda: process.cpu_times().user > before_s + 0.2, 60)
    process.kill()

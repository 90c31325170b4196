"""The lease for maintenance: of a Kafka group, and of the embedded engine's file."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import LakeError
from k2ctl.home import Home
from k2ctl.kafka import lease as leases
from k2ctl.kafka.lease import FileLease, GroupLease, lease_of
from tests.support.polling import until

Opener = Callable[[], GroupLease | FileLease]

HOLD = """
import sys, time
from k2ctl.endpoints import require_endpoints
from k2ctl.home import Home
from k2ctl.kafka.lease import lease_of
lease = lease_of(require_endpoints(Home.of_user()))(sys.argv[1])
print(lease.acquire(), flush=True)
sys.stdin.readline()
lease.keep()
"""


@pytest.fixture
def table() -> str:
    """The uuid of a table that no other test has."""
    return str(uuid.uuid4())


@pytest.fixture
def known(stack: Endpoints, home: Path) -> Endpoints:
    """The stack as other processes of the test find it."""
    endpoints = replace(stack, home=Home(home))
    save_endpoints(endpoints)
    return endpoints


@pytest.fixture
def ask(known: Endpoints, table: str) -> Iterator[Opener]:
    """A lease of the same table for each call."""
    given: list[GroupLease | FileLease] = []

    def another() -> GroupLease | FileLease:
        given.append(lease_of(known)(table))
        return given[-1]

    yield another
    for lease in given:
        lease.release()


@pytest.fixture
def owner(known: Endpoints, table: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, table],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_one_holds_it_until_it_gives_it_back(ask: Opener) -> None:
    first, second = ask(), ask()
    assert first.holder() is None
    assert first.acquire()
    assert first.acquire(), "who has it goes on with it"
    first.keep()
    assert not second.acquire()
    assert second.holder() == first.owner
    second.release()
    assert second.holder() == first.owner, "only its owner can give it back"
    first.release()
    assert second.acquire()
    assert first.holder() == second.owner


def test_of_eight_that_ask_at_once_no_two_get_it(ask: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "JOIN_WITHIN_S", 2.0)
    asking, start = [ask() for _ in range(8)], threading.Barrier(8)

    def acquire(lease: GroupLease | FileLease) -> bool:
        start.wait()
        return lease.acquire()

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(acquire, asking))
    assert sum(got) <= 1
    assert any(got) or ask().acquire(), "where each of them made way for another, the next one gets it"


def test_tables_have_leases_of_their_own(known: Endpoints, ask: Opener) -> None:
    other = lease_of(known)(str(uuid.uuid4()))
    assert ask().acquire()
    assert other.acquire()
    other.release()


def test_the_lease_of_a_process_that_was_killed_goes_to_the_next(ask: Opener, owner: subprocess.Popen[str]) -> None:
    lease = ask()
    assert not lease.acquire()
    assert f":{owner.pid}:" in str(lease.holder())
    owner.kill()
    until(lease.acquire, 20)


@pytest.mark.parametrize("stack", [pytest.param("local", marks=pytest.mark.kafka)], indirect=True)
def test_who_was_suspended_for_too_long_finds_that_another_has_it(ask: Opener, owner: subprocess.Popen[str]) -> None:
    os.kill(owner.pid, signal.SIGSTOP)
    lease = ask()
    until(lease.acquire, 20)
    os.kill(owner.pid, signal.SIGCONT)
    _, said = owner.communicate("go on\n", 30)
    assert "Another process has taken over" in said
    lease.keep()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_folder_that_cannot_be_used_is_one_line(known: Endpoints, ask: Opener) -> None:
    (known.home.path / "leases").write_text("in the way")
    with pytest.raises(Exception, match="folder of leases cannot be used"):
        ask().acquire()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_compaction_by_hand_names_who_maintains_the_table(known: Endpoints) -> None:
    from k2ctl.clock import SystemClock
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours

    folder = known.home.path / "lake"
    folder.mkdir()
    with Lake(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse") as lake:
        held = lease_of(known)(str(lake.ensure_table().metadata.table_uuid))
        assert held.acquire()
        with pytest.raises(LakeError, match=f"under way already: {held.owner}"):
            compact_now(lake, SystemClock(), whole_hours, lease_of(known))
        held.release()
        assert compact_now(lake, SystemClock(), whole_hours, lease_of(known)) == []

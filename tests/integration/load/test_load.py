"""Load against a real broker: what is acknowledged is there, in order, at the rate that was asked for."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from k2ctl.domain.trade import decode
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import BrokerError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import NOT_IN_TIME, STATISTICS_MS, BatchProducer
from k2ctl.kafka.reader import read_between
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.load.workers import LoadSnapshot
from k2ctl.profiles import Profile, load_profile
from k2ctl.stack import lifecycle
from tests.made_trades import make_trades
from tests.support.polling import until


@pytest.fixture
def profile(exchange: str) -> Profile:
    laptop = load_profile("laptop")
    return laptop.model_copy(update={"market": laptop.market.model_copy(update={"exchange": exchange})})


def read_all(endpoints: Endpoints, profile: Profile) -> np.ndarray:
    topic = profile.trades_topic
    with BrokerAdmin(endpoints) as admin:
        marks = admin.watermarks(topic)
    assert all(mark.low == 0 for mark in marks.values())
    ranges = {partition: (mark.low, mark.high) for partition, mark in marks.items()}
    fetched, _, _ = read_between(endpoints, topic, ranges, timeout_s=20, limit_records=10**7)
    return decode(fetched.values).trades


@pytest.mark.parametrize(("frame", "workers"), [(1, 1), (7, 2)])
def test_what_is_acknowledged_is_in_kafka_each_symbol_in_order(
    endpoints: Endpoints, profile: Profile, frame: int, workers: int
) -> None:
    plan = plan_load(profile, rate=8000, duration_s=2.0, frame=frame, workers=workers)
    summary = run_load(plan, endpoints, threading.Event())
    trades = read_all(endpoints, profile)
    assert (summary.trades_acknowledged, summary.trades_failed) == (16_000, 0)
    assert len(trades) == 16_000
    for symbol in (b"BHP", b"CBA", plan.profile.market.exchange.encode()):
        numbers = trades["source_sequence"][trades["symbol"] == symbol]
        assert numbers.tolist() == list(range(1, len(numbers) + 1))
    assert summary.ack_ms["p50"] > 0
    assert summary.reached_rate == pytest.approx(8000, rel=0.1)


def test_a_load_that_is_stopped_keeps_what_it_has_sent(embedded_stack: Endpoints, profile: Profile) -> None:
    stop = threading.Event()

    def stop_once_under_way(snapshot: LoadSnapshot) -> None:
        if snapshot.sent > 1000:
            stop.set()

    summary = run_load(plan_load(profile, rate=5000, duration_s=60.0), embedded_stack, stop, stop_once_under_way)
    assert summary.interrupted
    assert 0 < summary.trades_acknowledged < 100_000
    assert len(read_all(embedded_stack, profile)) == summary.trades_acknowledged


def test_the_embedded_engine_is_not_overrun_when_nobody_reads(
    embedded_stack: Endpoints, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.load.intake.STUCK_AFTER_S", 2.0)
    with pytest.raises(BrokerError) as raised:
        run_load(plan_load(profile, rate=200_000, duration_s=20.0), embedded_stack, threading.Event())
    assert "k2ctl consume" in raised.value.hint
    assert len(read_all(embedded_stack, profile)) > 10_000


def test_a_replay_at_full_speed_waits_before_the_embedded_engine_drops_what_nobody_has_read(
    embedded_stack: Endpoints, profile: Profile, asx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.load.intake.STUCK_AFTER_S", 2.0)
    with pytest.raises(BrokerError):
        run_load(plan_load(profile, replay=replay_plan(str(asx))), embedded_stack, threading.Event())
    with BrokerAdmin(embedded_stack) as admin:
        marks = admin.watermarks(profile.trades_topic)
    assert sum(mark.high for mark in marks.values()) > 20_000
    assert all(mark.low == 0 for mark in marks.values())


def test_workers_whose_parent_is_killed_end_by_themselves(
    embedded_stack: Endpoints, profile: Profile, home: Path
) -> None:
    save_endpoints(replace(embedded_stack, home=Home(home)))
    (home / "profile.yaml").write_text(yaml.safe_dump(profile.model_dump(mode="json")))
    script = """
import os
from k2ctl.endpoints import require_endpoints
from k2ctl.home import Home
from k2ctl.load.workers import LoadWorkers
from k2ctl.load.generator import prepare_topics
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.profiles import load_profile
if __name__ == "__main__":
    plan = plan_load(load_profile(os.environ["K2CTL_HOME"] + "/profile.yaml"), rate=100, workers=2)
    prepare_topics(plan, require_endpoints(Home.of_user()))
    workers = LoadWorkers(plan, require_endpoints(Home.of_user()))
    workers.start()
    for pipe in workers._pipes:
        pipe.poll(60)
    print(*[process.pid for process in workers._processes], flush=True)
    os.kill(os.getpid(), 9)
"""
    (home / "parent.py").write_text(script)
    done = subprocess.run([sys.executable, home / "parent.py"], capture_output=True, text=True, check=False, timeout=90)
    workers = [int(word) for word in done.stdout.split()]
    assert len(workers) == 2, done.stderr
    until(lambda: not any(map(psutil.pid_exists, workers)), 20)


@pytest.mark.parametrize(("partitions", "used"), [(1, 1), (3, 3), (16, 12)])
def test_a_topic_of_another_size_than_the_profiles_is_loaded_each_symbol_in_order(
    endpoints: Endpoints, profile: Profile, partitions: int, used: int
) -> None:
    topic = profile.trades_topic
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, partitions)
    summary = run_load(plan_load(profile, rate=4000, duration_s=1.0), endpoints, threading.Event())
    trades = read_all(endpoints, profile)
    with BrokerAdmin(endpoints) as admin:
        filled = {partition for partition, mark in admin.watermarks(topic).items() if mark.high}
    assert summary.trades_acknowledged == 4000
    assert len(trades) == 4000
    assert summary.partitions == used
    assert filled == set(range(used))
    for symbol in (b"BHP", b"CBA"):
        numbers = trades["source_sequence"][trades["symbol"] == symbol]
        assert numbers.tolist() == list(range(1, len(numbers) + 1))


def test_the_real_trades_arrive_whole(endpoints: Endpoints, profile: Profile, asx: Path) -> None:
    if endpoints.engine == "embedded":
        pytest.skip("needs a consumer beside it on the embedded engine: see the demo's and the replay's tests")
    summary = run_load(plan_load(profile, replay=replay_plan(str(asx))), endpoints, threading.Event())
    assert summary.trades_acknowledged == 200_545
    trades = read_all(endpoints, profile)
    names, counts = np.unique(trades["symbol"], return_counts=True)
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert found == {b"BHP": 91_631, b"RIO": 108_671, b"DVN": 232, b"MWR": 11}


def test_the_bytes_of_a_load_that_is_over_at_once_are_all_counted(embedded_stack: Endpoints, profile: Profile) -> None:
    short = run_load(plan_load(profile, rate=100_000, duration_s=0.1), embedded_stack, threading.Event())
    long = run_load(plan_load(profile, rate=10_000, duration_s=1.0), embedded_stack, threading.Event())
    assert short.trades_acknowledged == long.trades_acknowledged == 10_000
    assert short.seconds < long.seconds
    assert short.wire_bytes == pytest.approx(long.wire_bytes, rel=0.5)


def test_what_kafka_does_not_answer_for_has_its_reason(home: Path, exchange: str) -> None:
    endpoints = lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user()).endpoints
    kafka = endpoints.processes["kafka"].pid
    try:
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(exchange, 1)
        producer = BatchProducer(endpoints, exchange, 1)
        os.kill(kafka, signal.SIGSTOP)
        producer.send(make_trades(50), np.array([50]), 0)
        producer.finish(0.1)
    finally:
        os.kill(kafka, signal.SIGCONT)
        lifecycle.down(volumes=True, home=Home.of_user())
    assert (producer.failed, producer.failed_by) == (50, {NOT_IN_TIME: 50})


def test_what_is_finished_is_not_in_flight_while_the_client_has_statistics_to_tell(
    embedded_stack: Endpoints, exchange: str
) -> None:
    with BrokerAdmin(embedded_stack) as admin:
        admin.create_topic(exchange, 1)
    producer = BatchProducer(embedded_stack, exchange, 1)
    producer.send_all(make_trades(50), np.array([50]))
    ends_s = time.monotonic() + 3 * STATISTICS_MS / 1000
    while time.monotonic() < ends_s:
        assert (producer.in_flight_records, producer.acknowledged_records) == (0, 50)


@pytest.mark.parametrize("sample", [b"", make_trades(1)["symbol"][0]])
def test_trades_that_the_client_does_not_take_have_failed(
    embedded_stack: Endpoints, exchange: str, sample: bytes
) -> None:
    with BrokerAdmin(embedded_stack) as admin:
        admin.create_topic(exchange, 1)
    producer = BatchProducer(embedded_stack, exchange, 1, sample)
    with pytest.raises(BrokerError, match="partition"):
        producer.send(make_trades(50), np.array([20, 30]), 0)
    producer.finish(10.0)
    assert (producer.enqueued, producer.failed, producer.acknowledged_records) == (50, 30, 20)
    assert sum(len(trades) for trades in producer.take_failed()) == 30

"""`k2ctl state stats` beside a running consumer: what deduplication counted, as it reports it."""

import json
import random
import time

import numpy as np
import pytest

from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.telemetry import TelemetryWriter
from tests.made_trades import make_trades, produce_trades
from tests.support.cli import called
from tests.support.consumers import run_until
from tests.support.platforms import empty_market


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_running_consumer_says_what_it_suspected_and_looked_up(
    endpoints: Endpoints, exchange: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_endpoints(endpoints)
    monkeypatch.setenv("K2CTL_HOME", str(endpoints.home.path))
    dedup = {"window_hours": 24, "ids_per_s": 1, "error_rate": 0.1, "chunk_ids": 1_000, "budget_mb": 64}
    profile, topic = empty_market(endpoints, exchange, dedup=dedup)
    rng = random.Random(3)
    trades = make_trades(4_000)
    trades["message_id"] = np.frombuffer(rng.randbytes(16 * len(trades)), "V16")
    trades["event_ns"] = time.time_ns() - np.array([rng.randrange(10**9) for _ in range(len(trades))])
    for part in (trades[:3_000], trades[3_000:], trades[:500]):
        produce_trades(endpoints, topic, part)
    telemetry = TelemetryWriter(endpoints)
    run_until(endpoints, profile, lambda status: status.counts.seen == 4_500, budget=None, telemetry=telemetry)
    code, out, said = called(capsys, "state", "stats", "--topic", topic, "--json")
    assert code == ExitCode.OK, said
    document = json.loads(out)
    (consumer,) = document["dedup"]["consumers"].values()
    counts = consumer["counts"]
    assert (document["topic"], document["dedup"]["unknown"]) == (topic, "")
    assert counts["checked"] == 4_500
    assert counts["within"] + counts["pending"] + counts["stored"] == 500
    assert consumer["bloom_hits"] == counts["hits_confirmed"] + counts["hits_false"]
    assert consumer["new_ids_tested"] == counts["ids_tested"] - counts["hits_confirmed"]
    assert counts["planned_error_rate"] == 0.1
    assert document["dedup"]["all"] == consumer
    code, out, _ = called(capsys, "state", "stats", "--topic", topic)
    assert code == ExitCode.OK
    assert "4,500, of them" in out
    assert "500 copies" in out
    assert "planned 10.00%" in out

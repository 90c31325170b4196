"""`python -m tests.peers`, the comparison with other programs, as one starts it."""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HAS_JAVA = shutil.which("java") is not None and shutil.which("mvn") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.kafka,
    pytest.mark.skipif(not HAS_JAVA and "K2CTL_REQUIRE_KAFKA" not in os.environ, reason="it needs Java and Maven"),
]


def _figures(folder: Path, peers: list[str]) -> dict[str, dict[str, Any]]:
    """Peer → figure → value."""
    command = [sys.executable, "-m", "tests.peers", "3000", ",".join(peers)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in map(json.loads, done.stdout.splitlines()):
        found[line["peer"]][line["figure"]] = line["value"]
    return found


def test_peers_drain_the_same_topic_and_each_table_has_every_trade_once(tmp_path: Path) -> None:
    peers = ["k2-feed-json", "k2-avro", "connect-avro"]
    folder = tmp_path / "runs"
    folder.mkdir()
    found = _figures(folder, peers)
    for peer in peers:
        assert found[peer]["exactly_once"] is True
        assert found[peer]["cpu_s_per_million"] > 0
    assert list(folder.iterdir()) == [], "a run that goes well leaves nothing"

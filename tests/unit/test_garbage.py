"""When garbage is collected: never over all that was imported, while a person waits."""

import gc
import json
import subprocess
import sys

from k2ctl.garbage import RARELY, spare_what_is_there

COMMAND = """
import gc, json, sys
from k2ctl.cli import main
full = []
gc.callbacks.append(lambda phase, of: full.append(phase) if of["generation"] == 2 else None)
sys.argv = ["k2ctl", "query", "recent", "--help"]
main()
import k2ctl.query.session
print(json.dumps(full))
"""


def test_a_command_has_no_full_collection_while_it_begins() -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_what_is_there_when_work_begins_is_looked_through_no_more() -> None:
    thresholds, there = gc.get_threshold(), len(gc.get_objects())
    gc.set_threshold(10_000, 50, 50)
    try:
        spare_what_is_there()
        assert gc.get_freeze_count() >= there
        assert len(gc.get_objects()) < there / 10
        assert gc.get_threshold() == (RARELY[0], *thresholds[1:])
    finally:
        gc.unfreeze()

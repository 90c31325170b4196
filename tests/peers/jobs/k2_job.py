"""k2ctl's command line, unchanged, which says when the consumer begins to read, as the jobs of the other peers do."""

import sys
import time
from collections.abc import Callable
from threading import Event

from k2ctl.cli import main
from k2ctl.memory import keep_one_heap

keep_one_heap()  # as the command does before it imports what it needs

from k2ctl.consume.consumer import Consumer  # noqa: E402
from k2ctl.consume.platform import ConsumerTotals  # noqa: E402

_run = Consumer.run


def _announced(consumer: Consumer, stop: Event, on_tick: Callable[[], None] | None = None) -> ConsumerTotals:
    sys.stderr.write(f"PEER-READY {time.time():.3f}\n")
    sys.stderr.flush()
    return _run(consumer, stop, on_tick)


Consumer.run = _announced
sys.exit(main())

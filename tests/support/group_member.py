"""A consumer that shares its topic with others, on a thread of the test."""

import threading
import time

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile


class Member:
    """It joins when it is made."""

    def __init__(self, endpoints: Endpoints, profile: Profile) -> None:
        self._stop = threading.Event()
        self._consumer = Consumer(endpoints, ConsumerPlan(profile, group=True, consumer_id=f"member-{id(self)}"))
        self._thread = threading.Thread(target=self._consumer.run, args=(self._stop,))
        self._thread.start()

    def until_it_holds(self, partitions: int) -> None:
        """Wait for so many assigned partitions."""
        limit_s = time.monotonic() + 30
        while len(self._consumer.assignment.partitions) != partitions or not self._consumer.assignments.is_current:
            assert time.monotonic() < limit_s, self._consumer.assignment.partitions
            time.sleep(0.02)

    def leave(self) -> None:
        """End it; what it has read is committed first."""
        self._stop.set()
        self._thread.join()

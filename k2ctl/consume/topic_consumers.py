"""Several topics in one process: a consumer for each that a regular expression matches, each on a thread of its own.

They share the table and nothing else, so each has its offsets, its balance and its level. Topics that come to match
later are taken up, too.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.topics import found_topics
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.watermarks import Silence
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

LOOK_EVERY_S: Final = 5.0
WAIT_S: Final = 0.1
LEAST_PENDING_ROWS: Final = 50_000
"""Of one of many topics, which share what a consumer may keep in memory."""

OnTick = Callable[[Consumer], None]


def plan_for(plan: ConsumerPlan, topic: str, count: int) -> ConsumerPlan:
    """The plan of the consumer of one topic beside those of others, `count` in all."""
    profile, settings = plan.profile, plan.profile.consumer
    rows = {
        name: max(LEAST_PENDING_ROWS, getattr(settings, name) // count)
        for name in ("pending_limit_rows", "commit_rows")
    }
    changes = {
        "topic": profile.topic.model_copy(update={"name": topic}),
        "consumer": settings.model_copy(update=rows),
    }
    own = profile.model_copy(update=changes)
    return replace(plan, profile=own, topics=count, consumer_id=f"{plan.consumer_id}.{topic}")


class TopicConsumers:
    """Runs them until all have ended, or one has failed."""

    def __init__(self, endpoints: Endpoints, plan: ConsumerPlan, topics: Sequence[str]) -> None:
        """topics: those that are there now."""
        self._endpoints = endpoints
        self._plan = plan
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self.consumers: dict[str, Consumer] = {}
        self.silences: list[Silence] = []
        """Of those that ended while Kafka did not answer."""
        for topic in topics:
            self._open(topic, len(topics))

    def _open(self, topic: str, count: int) -> Consumer:
        maintains = not self.consumers
        plan = replace(plan_for(self._plan, topic, count), maintains=maintains)
        opened = self.consumers[topic] = Consumer(self._endpoints, plan)
        return opened

    def run(self, stop: threading.Event, on_tick: OnTick, on_open: OnTick) -> None:
        """Consume until `stop` is set or all goals are reached; each ends with what it has read committed.

        on_tick: called by each consumer's own thread, on every pass of its loop. on_open: called for each consumer
        before it begins.

        Raises:
            Whatever one of them raises; the others commit and end first.
        """
        for consumer in tuple(self.consumers.values()):
            self._begin(consumer, on_tick, on_open)
        look = Every(LOOK_EVERY_S)
        while any(thread.is_alive() for thread in self._threads):
            if stop.wait(WAIT_S) or self._failed:
                self._stop.set()
            elif look.due() and not self._plan.until_caught_up:
                self._take_up(on_tick, on_open)
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _begin(self, consumer: Consumer, on_tick: OnTick, on_open: OnTick) -> None:
        on_open(consumer)
        thread = threading.Thread(target=self._run, args=(consumer, on_tick), name=f"k2-{consumer.topic}")
        self._threads.append(thread)
        thread.start()

    def _run(self, consumer: Consumer, on_tick: OnTick) -> None:
        try:
            consumer.run(self._stop, lambda: on_tick(consumer))
            silence = consumer.silence
            self.silences += [silence] if silence is not None else []
        except BaseException as error:  # raised again by the thread that waits
            LOG.error("the consumer of %s has ended: %s", consumer.topic, first_line(error))
            self._failed.append(error)

    def _take_up(self, on_tick: OnTick, on_open: OnTick) -> None:
        """Begin with topics that were not there before."""
        try:
            found = found_topics(self._endpoints, self._plan.profile)
        except BrokerError as error:  # each consumer reports it
            LOG.warning("the topics are not known: %s", first_line(error))
            return
        for topic in found:
            if topic not in self.consumers:
                LOG.info("a topic has come", extra={"topic": topic})
                self._begin(self._open(topic, len(found)), on_tick, on_open)

"""The story: a ramp, a consumer, a query while data flows, a kill -9 in the middle, and the reconciliation."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import yaml

from k2ctl.broker.overview import Overview, OverviewReader
from k2ctl.demo.checks import Check, books_balance, complete_answer, duplicates_caught, given_back, stored_once
from k2ctl.errors import CheckFailed, K2Error
from k2ctl.home import Endpoints, private_home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.heads import Counts
from k2ctl.lake.progress import progress_of
from k2ctl.load.generator import run_load
from k2ctl.load.market import Faults
from k2ctl.load.plan import LoadPlan, plan_load
from k2ctl.load.summary import LoadSummary
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.stack import lifecycle
from k2ctl.stack.processes import last_lines, log_path

SYMBOL: Final = "BHP"
DUPLICATES: Final = 0.01
CATCH_UP_S: Final = 45.0
COOLDOWN_S: Final = 3.0
CONSUMER_SERVICE: Final = "consumer"


@dataclass(frozen=True)
class Length:
    """How long the story takes, in seconds: the load, when it is queried, and when the consumer dies and returns."""

    load_s: float
    rate: int
    ramp_to: int
    query_at_s: float
    kill_at_s: float
    back_at_s: float


QUICK: Final = Length(load_s=14, rate=4_000, ramp_to=20_000, query_at_s=5, kill_at_s=7, back_at_s=9)
FULL: Final = Length(load_s=60, rate=5_000, ramp_to=40_000, query_at_s=20, kill_at_s=30, back_at_s=35)


@dataclass
class Told:
    """The story as it has come out: the checks, and what the load says of itself."""

    checks: list[Check] = field(default_factory=list)
    load: LoadSummary | None = None
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Every check held, and all were made."""
        return len(self.checks) == CHECKS and all(check.held for check in self.checks)


CHECKS: Final = 7


class Audience:
    """Who watches: a step begins, a check is made, the platform's state changes. Does nothing by itself."""

    def step(self, text: str) -> None:
        """Something begins."""

    def check(self, check: Check) -> None:
        """Something was measured."""

    def tick(self, overview: Overview) -> None:
        """The platform as it stands, several times a second."""


def tell(profile: Profile, length: Length, audience: Audience) -> Told:
    """Play the story in a stack of its own, which is gone afterwards, however it ends.

    Raises:
        K2Error: something could not be started, or ended when it should not.
    """
    started_s = time.monotonic()
    with private_home("demo-") as home:
        audience.step("Starting a stack of its own: Kafka in one process, Iceberg in a local folder")
        quicker = _with_cooldown(profile, COOLDOWN_S)
        path = home / "profile.yaml"
        path.write_text(yaml.safe_dump(quicker.model_dump(mode="json")))
        endpoints = lifecycle.up("embedded", str(path), lambda _: None).endpoints
        story = _Story(endpoints, quicker, length, audience)
        try:
            story.play()
        finally:
            story.end()
            lifecycle.down(volumes=True)
    story.told.seconds = time.monotonic() - started_s
    return story.told


def _with_cooldown(profile: Profile, seconds: float) -> Profile:
    """The profile with another cooldown, so that a level is left within the time that an audience has."""
    return profile.model_copy(update={"degradation": profile.degradation.model_copy(update={"cooldown_s": seconds})})


class _Story:
    def __init__(self, endpoints: Endpoints, profile: Profile, length: Length, audience: Audience) -> None:
        self.told = Told()
        self._endpoints = endpoints
        self._profile = profile
        self._length = length
        self._audience = audience
        self._overview = OverviewReader(endpoints)
        self._consumer: subprocess.Popen[bytes] | None = None
        self._stop_load = threading.Event()
        self._load_thread: threading.Thread | None = None
        self._load_error: K2Error | None = None
        self._plan: LoadPlan = plan_load(
            profile, rate=length.rate, ramp_to=length.ramp_to, duration_s=length.load_s, faults=Faults(DUPLICATES)
        )

    def play(self) -> None:
        """The steps, in order."""
        length = self._length
        self._audience.step("Starting a consumer")
        self._start_consumer()
        self._audience.step(
            f"Loading trades, {length.rate:,} rising to {length.ramp_to:,} a second; 1 in 100 is sent twice"
        )
        self._start_load()
        loaded_s = time.monotonic()
        self._watch_until(loaded_s + length.query_at_s)
        self._query(f"a query of {SYMBOL} while data flows is complete")
        self._watch_until(loaded_s + length.kill_at_s)
        self._audience.step("Killing the consumer (kill -9), in the middle of its work")
        self._kill_consumer()
        self._query(f"a query of {SYMBOL} is complete while the consumer is dead")
        self._watch_until(loaded_s + length.back_at_s)
        self._audience.step("Starting the consumer again; the table knows where to go on")
        self._start_consumer()
        self._watch_while(self._loading)
        self._raise_load_error()
        self._audience.step("The load has ended; waiting until everything is in the table")
        self._check(self._caught_up())
        self._stop_consumer()
        self._audience.step("Reconciling what Kafka acknowledged with what the table holds")
        self._reconcile()

    def _start_consumer(self) -> None:
        with log_path(CONSUMER_SERVICE).open("ab") as log:
            self._consumer = subprocess.Popen(
                [sys.executable, "-m", "k2ctl", "consume"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill_consumer(self) -> None:
        consumer = self._running_consumer()
        consumer.kill()
        consumer.wait()

    def _running_consumer(self) -> subprocess.Popen[bytes]:
        consumer = self._consumer
        if consumer is None or consumer.poll() is not None:
            raise CheckFailed(
                f"The consumer ended by itself: {last_lines(CONSUMER_SERVICE)}", "Try: k2ctl demo --quick"
            )
        return consumer

    def _stop_consumer(self) -> None:
        consumer = self._running_consumer()
        consumer.send_signal(signal.SIGINT)
        consumer.wait(20)

    def _start_load(self) -> None:
        def load() -> None:
            try:
                self.told.load = run_load(self._plan, self._endpoints, self._stop_load)
            except K2Error as error:
                self._load_error = error

        self._load_thread = threading.Thread(target=load, daemon=True)
        self._load_thread.start()

    def _loading(self) -> bool:
        return self._load_thread is not None and self._load_thread.is_alive()

    def _raise_load_error(self) -> None:
        if self._load_error is not None:
            raise self._load_error

    def _watch_until(self, moment_s: float) -> None:
        self._watch_while(lambda: time.monotonic() < moment_s and self._load_error is None)
        self._raise_load_error()

    def _watch_while(self, going_on: Callable[[], bool]) -> Overview:
        while True:
            overview = self._overview.poll(0.1)
            self._audience.tick(overview)
            if not going_on():
                return overview

    def _query(self, claim: str) -> None:
        with Session.at(self._endpoints) as session:
            self._check(complete_answer(claim, session.recent(SYMBOL)))

    def _caught_up(self) -> Check:
        started_s = time.monotonic()

        def behind() -> bool:
            counts = self._committed()
            done = counts.seen >= self._acknowledged() and not counts.shed + counts.spilled
            return not done and time.monotonic() - started_s < CATCH_UP_S

        overview = self._watch_while(behind)
        counts = self._committed()
        left = self._acknowledged() - counts.seen
        took_s = time.monotonic() - started_s
        self._check(given_back(counts, overview.given_back, f"cooldown {COOLDOWN_S:.0f} s"))
        return Check(
            "the consumer caught up after it was killed",
            left == 0,
            f"{took_s:.1f} s after the load ended, {left:,} trades are left",
        )

    def _acknowledged(self) -> int:
        return self.told.load.trades_acknowledged if self.told.load else 0

    def _committed(self) -> Counts:
        with Lake.at(self._endpoints) as lake:
            return progress_of(lake.table()).total()

    def _reconcile(self) -> None:
        produced = self._plan.schedule.total
        with Session.at(self._endpoints) as session:
            self._check(stored_once(session.recent(None), produced))
        counts = self._committed()
        self._check(duplicates_caught(counts, self._acknowledged() - produced))
        self._check(books_balance(counts, self._acknowledged()))

    def _check(self, check: Check) -> None:
        self.told.checks.append(check)
        self._audience.check(check)

    def end(self) -> None:
        """Leave nothing running."""
        self._stop_load.set()
        if self._load_thread is not None:
            self._load_thread.join(10)
        if self._consumer is not None and self._consumer.poll() is None:
            self._consumer.kill()
            self._consumer.wait()
        with suppress(K2Error):
            self._overview.close()

"""The stage of the demo: a stack of its own, the processes of the acts, and the result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.cleanup import PREFIX, clear_leftovers, save_act, watched
from k2ctl.demo.pacing import WAIT_AT_MOST_S, Pacing, for_the_stage, thresholds_of
from k2ctl.demo.processes import DemoProcess, LoadProcess, SentTotals
from k2ctl.demo.result import ActResult, Audience, DemoResult, Finding_, Sample, Tick
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.home import Home
from k2ctl.kafka.telemetry import OverviewReader, TelemetryReader
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.load.market import Faults
from k2ctl.load.plan import LoadPlan, plan_load
from k2ctl.profiles import Profile, save_profile
from k2ctl.query.answer import Answer
from k2ctl.query.session import Session
from k2ctl.stack import lifecycle


class Readings:
    """Reads as anybody does: from telemetry, Kafka and the table, never from the processes on the stage."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._overview = OverviewReader(endpoints)
        self._telemetry = TelemetryReader(endpoints)

    def tick(self, at_s: float, *, naive: bool) -> Tick:
        """The platform as it stands, at_s after the act began; with `naive` also what the naive consumer says."""
        overview = self._overview.poll(0.1)
        status = self._naive() if naive else None
        critical: Any = status and status.get("critical_lag_seconds")
        sample = Sample(
            round(at_s, 2),
            overview.level_number,
            overview.lag_trades,
            overview.lag_seconds,
            overview.critical_lag_seconds,
            None if critical is None else float(critical),
        )
        return Tick(overview, sample, status)

    def _naive(self) -> dict[str, object] | None:
        statuses = self._telemetry.poll(0.0).others.values()
        return next((status for status in statuses if status.get("kind") == "naive"), None)

    def query(self, symbol: str | None, window: Window, limit: int | None = None, *, deferred: bool = False) -> Answer:
        """Ask the platform, as `k2ctl query recent` does."""
        with Session.at(self._endpoints) as session:
            return session.recent(symbol, window, limit, deferred=deferred)

    def counts(self) -> Counts:
        """What became of the trades, by the table."""
        with Lake.at(self._endpoints) as lake:
            table = lake.find_table()
            return Counts() if table is None else checkpoints_of(table).total()

    def close(self) -> None:
        """Leave the broker."""
        with suppress(K2Error):
            self._overview.close()
        with suppress(K2Error):
            self._telemetry.close()


SYMBOL: Final = "BHP"
SAMPLE_EVERY_S: Final = 0.5
CONSUMER: Final = "consumer"
NAIVE: Final = "naive consumer"


@contextmanager
def stage(profile: Profile, engine: str, pacing: Pacing, audience: Audience) -> Iterator["Stage"]:
    """A stage on a stack of its own, which is gone afterwards, however it ends.

    Raises:
        K2Error: the stack could not be started.
    """
    clear_leftovers()
    with Home.of_user().temporary(PREFIX) as home, watched(home):
        adapted = for_the_stage(profile, engine, pacing)
        audience.step(f"Starting a stack of its own, {engine}; it is gone afterwards")
        endpoints = lifecycle.up_beside(engine, str(save_profile(adapted, home.path)), home)
        built = Stage(endpoints, adapted, pacing, audience)
        try:
            yield built
        finally:
            built.end()
            lifecycle.down(volumes=True, home=home)


class Stage:
    """What acts are played on. Every step, finding and check is recorded and shown to the audience."""

    def __init__(self, endpoints: Endpoints, profile: Profile, pacing: Pacing, audience: Audience) -> None:
        self.endpoints = endpoints
        self.profile = profile
        self.pacing = pacing
        self.result = DemoResult(endpoints.engine, thresholds=thresholds_of(profile, endpoints.engine))
        self.sent: list[SentTotals] = []
        self._audience = audience
        self.readings = Readings(endpoints)
        self._processes: dict[str, DemoProcess] = {}
        self._load: LoadProcess | None = None
        self._began_s = time.monotonic()
        self._sampled_s = 0.0

    @property
    def act(self) -> ActResult:
        """The act that is being played."""
        return self.result.acts[-1]

    @contextmanager
    def playing(self, act: ActResult) -> Iterator[None]:
        """An act; when it is over, nothing of it runs any more."""
        self.result.acts.append(act)
        self._began_s, self._sampled_s = time.monotonic(), 0.0
        save_act(self.endpoints.home, act.billing.number)
        self._audience.begins(act)
        try:
            yield
        finally:
            self._clear()
            act.seconds = time.monotonic() - self._began_s
        self._audience.ends(act)

    def step(self, text: str) -> None:
        """Say what begins."""
        self.act.steps.append(text)
        self._audience.step(text)

    def show(self, finding: Finding_, read_s: float = 8.0) -> None:
        """Show what was read, for as long as it takes to look at it."""
        self.act.findings.append(finding)
        self._audience.show(finding)
        time.sleep(self.pacing.read(read_s))

    def check(self, check: DemoCheck) -> None:
        """Record an assertion, and show it."""
        self.act.checks.append(check)
        self._audience.check(check)

    def moment(self, name: str) -> None:
        """What is on the screen now is worth a picture."""
        self._audience.moment(name)

    def start_consumer(self, budget: int | None = None) -> None:
        """Start a consumer; with a budget it processes at most so many trades a second, on purpose."""
        held = ("--budget", str(budget)) if budget else ()
        self._start(CONSUMER, "k2ctl", "consume", *held)

    def start_naive(self, budget: int) -> None:
        """Start the naive consumer with the same budget."""
        self._start(NAIVE, "k2ctl.checks.baselines.naive_consumer", "--budget", str(budget))

    def _start(self, name: str, module: str, *arguments: str) -> DemoProcess:
        self._processes[name] = DemoProcess(self.endpoints.home, name, module, *arguments)
        return self._processes[name]

    def kill_consumer(self) -> None:
        """kill -9."""
        process = self._processes.pop(CONSUMER)
        process.require_running()
        process.kill()

    def stop_processes(self) -> None:
        """End all that run, in an orderly way and at the same time."""
        stopping = list(self._processes.values())
        for process in stopping:
            process.interrupt()
        for process in stopping:
            process.require_stopped()
        self._processes.clear()

    def catch_up(self) -> None:
        """Run a consumer until everything that is in Kafka now is in the table."""
        self._start(CONSUMER, "k2ctl", "consume", "--until-caught-up").finish(WAIT_AT_MOST_S)
        del self._processes[CONSUMER]

    def plan(self, rate: int, duration_s: float, **more: Any) -> LoadPlan:
        """A load of the stage's market. more: as `plan_load`; `duplicates`, `gaps`: fractions of trades."""
        faults = Faults(more.pop("duplicates", 0.0), more.pop("gaps", 0.0))
        return plan_load(self.profile, rate=rate, duration_s=duration_s, faults=faults, **more)

    def prepare_load(self, plan: LoadPlan) -> None:
        """Start a load's workers while something else starts; nothing is sent before `begin_load`."""
        self._load = LoadProcess(plan, self.endpoints)

    def begin_load(self) -> Window:
        """Let the prepared load send; returns the window of its trades."""
        began_us = time.time_ns() // 1000
        self._required_load().begin()
        return Window(since_us=began_us)

    def start_load(self, plan: LoadPlan) -> Window:
        """Prepare a load and begin it at once."""
        self.prepare_load(plan)
        return self.begin_load()

    def finish_load(self) -> SentTotals:
        """Watch until the load has ended."""
        self.watch(lambda _: not self.loading, limit_s=600)
        self.sent.append(self._required_load().sent())
        self._load = None
        return self.sent[-1]

    def _required_load(self) -> LoadProcess:
        if self._load is None:
            raise RuntimeError("no load was started")
        return self._load

    @property
    def loading(self) -> bool:
        """Whether a load is under way."""
        return self._load is not None and self._load.running

    def raise_load_error(self) -> None:
        """Raises: what ended the load, if something did."""
        if self._load is not None:
            self._load.raise_error()

    def watch(self, done: Callable[[Tick], bool], limit_s: float = WAIT_AT_MOST_S) -> bool:
        """Show the platform until `done`; returns False when `limit_s` was over first."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            for process in self._processes.values():
                process.require_running()
            self.raise_load_error()
            if done(self._tick()):
                return True
        return False

    def watch_for(self, seconds: float) -> None:
        """Show the platform for a while."""
        until_s = time.monotonic() + seconds
        self.watch(lambda _: time.monotonic() >= until_s, seconds + 1)

    def _tick(self) -> Tick:
        at_s = time.monotonic() - self._began_s
        tick = self.readings.tick(at_s, naive=NAIVE in self._processes)
        if at_s - self._sampled_s >= SAMPLE_EVERY_S:
            self._sampled_s = at_s
            self.act.samples.append(tick.sample)
        self._audience.tick(tick)
        return tick

    @property
    def acknowledged(self) -> int:
        """What Kafka has acknowledged of the loads that have ended, in trades."""
        return sum(sent.acknowledged for sent in self.sent)

    def _clear(self) -> None:
        """End the act's processes."""
        if self._load is not None:
            self._load.end()
            self._load = None
        for process in self._processes.values():
            process.kill()
        self._processes.clear()

    def end(self) -> None:
        """Leave nothing running."""
        self._clear()
        self.readings.close()

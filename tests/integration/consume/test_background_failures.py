"""What fails in the background of a consumer is in its log, in its status and in a metric, until it works."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance import maintainer
from k2ctl.lake.maintenance.maintainer import BackgroundMaintenance
from k2ctl.metrics import samples
from tests.made_trades import quick_profile
from tests.support.consumers import RunningConsumer, backlog, pressed, topic_of
from tests.support.polling import until

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Background work is due all the time."""
    monkeypatch.setattr("k2ctl.dedup.saved_state.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(BackgroundMaintenance.__init__, "__defaults__", (0.05, 1.0))
    caplog.set_level(logging.WARNING, "k2ctl")


@pytest.fixture
def start(endpoints: Endpoints, exchange: str) -> Iterator[Callable[[], RunningConsumer]]:
    """Starts a consumer of trades that are in Kafka."""
    profile, running = pressed(quick_profile(commit_interval_s=0.1), endpoints, exchange), []
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic_of(profile), profile.topic.partitions)

    def started() -> RunningConsumer:
        backlog(endpoints, profile, 200)
        running.append(RunningConsumer(endpoints, profile))
        until(lambda: running[-1].stored(200), why=lambda: running[-1].error)
        return running[-1]

    yield started
    for consumer in running:
        consumer.stop()


def failing(consumer: RunningConsumer, metric: str) -> float:
    return next(float(str(value)) for name, _, value in samples(consumer.said[-1]) if name == metric)


def logged(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """The cause in the log, of the first record that says `words`."""
    return next((str(vars(record)["error"]) for record in caplog.records if words in record.getMessage()), "")


def test_maintenance_that_fails_is_in_log_status_and_metric_until_it_works(
    endpoints: Endpoints,
    start: Callable[[], RunningConsumer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintainer, "REMOVE_ORPHANS_EVERY_S", 0.5)  # something is always due
    consumer = start()
    until(lambda: failing(consumer, "k2_maintenance_failing") == 0)
    folder = endpoints.home.folder("leases")
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    until(lambda: "folder of leases" in consumer.said[-1].maintenance_error, why=lambda: consumer.said[-1])
    assert failing(consumer, "k2_maintenance_failing") == 1
    assert "folder of leases" in logged(caplog, "maintenance failed")
    folder.unlink()
    until(lambda: not consumer.said[-1].maintenance_error, why=lambda: consumer.said[-1])
    assert failing(consumer, "k2_maintenance_failing") == 0


def test_deduplication_state_that_cannot_be_saved_is_in_log_status_and_metric(
    endpoints: Endpoints, start: Callable[[], RunningConsumer], caplog: pytest.LogCaptureFixture
) -> None:
    with Lake.at(endpoints) as lake:
        beside = Path(lake.ensure_table().location().removeprefix("file://") + "-k2")
    beside.mkdir()
    (beside / "dedup").write_text("a file where the folder should be")
    consumer = start()
    until(lambda: "dedup" in consumer.said[-1].dedup_save_error, why=lambda: consumer.said[-1])
    assert failing(consumer, "k2_dedup_save_failing") == 1
    assert "dedup" in logged(caplog, "deduplication state is not saved")

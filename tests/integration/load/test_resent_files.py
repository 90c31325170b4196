"""A file that was published again: what was missing is stored, and nothing twice."""

import threading
from pathlib import Path
from typing import Any

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import quick_profile
from tests.support.verified import consumed, only

LINES = [f"03/10/2014,10:00:0{second}.100,10.0{second},100,0,,\n" for second in range(4)]
LOOK_ALIKES = "03/10/2014,10:00:05.000,10.00,50,XT,ASX,7\n" * 3


@pytest.fixture
def profile(exchange: str) -> Profile:
    quick = quick_profile()
    return quick.model_copy(update={"market": quick.market.model_copy(update={"exchange": exchange})})


def replay(endpoints: Endpoints, profile: Profile, path: Path, text: str, *, now: bool = False) -> None:
    path.write_text(text)
    run_load(
        plan_load(profile, replay=replay_plan(str(path), shift_to_now=now)),
        endpoints,
        threading.Event(),
    )


def session_of(endpoints: Endpoints, profile: Profile) -> Session:
    return Session(Lake.at(endpoints), KafkaStream(endpoints, profile.trades_topic))


def asked(endpoints: Endpoints, profile: Profile, text: str) -> list[dict[str, Any]]:
    with session_of(endpoints, profile) as session, sql(session, text) as answer:
        return list(answer.rows.read_all().to_pylist())


def figures(endpoints: Endpoints, profile: Profile) -> tuple[int, int]:
    (row,) = asked(endpoints, profile, "SELECT count(*) AS trades, sum(quantity) AS volume FROM trades")
    return row["trades"], int(row["volume"])


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("between", [False, True], ids=["both in Kafka", "the first in the table"])
def test_of_a_file_that_is_published_again_only_what_was_missing_is_stored(
    endpoints: Endpoints, profile: Profile, tmp_path: Path, *, between: bool
) -> None:
    replay(endpoints, profile, tmp_path / "GAPA.csv", "".join(LINES[:2] + LINES[3:]))
    if between:
        consumed(endpoints, profile)
    replay(endpoints, profile, tmp_path / "GAPA.csv", "".join(LINES))
    assert figures(endpoints, profile) == (4, 400), "lake and stream are united"
    consumed(endpoints, profile)
    assert figures(endpoints, profile) == (4, 400)
    result = only(endpoints)
    assert result.holds, result.findings
    assert (result.acknowledged, result.expected, result.in_lake) == (7, 4, 4)
    with session_of(endpoints, profile) as session:
        report, _ = session.gaps(None)
    assert (report.missing, report.gaps, report.untracked) == (0, (), {profile.market.exchange: 4})


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_look_alikes_stay_and_one_more_of_them_is_one_more_trade(
    endpoints: Endpoints, profile: Profile, tmp_path: Path
) -> None:
    replay(endpoints, profile, tmp_path / "GAPA.csv", LOOK_ALIKES)
    consumed(endpoints, profile)
    replay(endpoints, profile, tmp_path / "GAPA.csv", LINES[0] + LOOK_ALIKES + LOOK_ALIKES.splitlines(keepends=True)[0])
    consumed(endpoints, profile)
    assert figures(endpoints, profile) == (5, 300)
    assert only(endpoints).holds


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_trades_that_are_shifted_to_now_are_other_trades(
    endpoints: Endpoints, profile: Profile, tmp_path: Path
) -> None:
    for now in (False, True, True):
        replay(endpoints, profile, tmp_path / "GAPA.csv", "".join(LINES) + LOOK_ALIKES, now=now)
    consumed(endpoints, profile)
    assert figures(endpoints, profile) == (21, 1650)
    result = only(endpoints)
    assert result.holds, result.findings
    assert result.expected == result.in_lake == 21


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_the_real_trades_stay_whole_when_they_are_replayed_twice(
    endpoints: Endpoints, profile: Profile, asx: Path
) -> None:
    """Of the smaller files: some of their trades look alike."""
    for _ in range(2):
        for name in ("7181", "3153"):
            run_load(
                plan_load(profile, replay=replay_plan(str(asx / f"{name}.csv"))),
                endpoints,
                threading.Event(),
            )
        consumed(endpoints, profile)
    assert figures(endpoints, profile)[0] == 243
    result = only(endpoints)
    assert result.holds, result.findings
    assert result.acknowledged == 2 * result.expected == 2 * 243

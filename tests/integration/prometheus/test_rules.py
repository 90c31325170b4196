"""The alert rules by promtool's own evaluation: each fires when it should, says what it should, and else is quiet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2ctl.home import shipped
from tests.support.prometheus_server import promtool

STACK = shipped("stack") / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((STACK / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}

TOPIC = {"topic": "t"}
CONSUMER = {"job": "k2-consumer", "instance": "c:9464"}
CONSUMED = {**CONSUMER, **TOPIC}
API = {"job": "k2-api", "instance": "a:8700"}


def of(name: str, labels: Mapping[str, str], **more: str) -> str:
    inner = ", ".join(f'{key}="{value}"' for key, value in {**labels, **more}.items())
    return f"{name}{{{inner}}}"


SEEN, STORED = of("k2_trades", CONSUMED, term="seen"), of("k2_trades", CONSUMED, term="stored")
LOST, DEAD = of("k2_trades", CONSUMED, term="lost"), of("k2_trades", CONSUMED, term="dead_lettered")
LAG, COMMITS = of("k2_consumer_lag_messages", CONSUMED, partition="0"), of("k2_commits_total", CONSUMER)
UNDECODABLE = of("k2_undecodable_records", CONSUMED)
OUTSTANDING, GAPS = of("k2_trades_outstanding", CONSUMED), of("k2_open_gaps", CONSUMED)
TESTED, PLANNED = (of(f"k2_dedup_{name}", CONSUMED) for name in ("ids_tested_total", "planned_false_positive_ratio"))
CONFIRMED, FALSE = (of("k2_dedup_bloom_hits_total", CONSUMED, verdict=verdict) for verdict in ("confirmed", "false"))
TRADES_OF_A, TRADES_OF_B = (of("k2_line_trades_total", CONSUMED, line=line) for line in "AB")
COPIES_OF_B = of("k2_line_copies_total", CONSUMED, line="B")
WAITED = {"job": "k2-api", "instance": "a:8700", "route": "/v1/ohlcv"}


@dataclass(frozen=True)
class Case:
    """Series (15 s apart) that make an alert fire at a time, with what it then says, and series that do not."""

    alert: str
    at: str
    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    summary: str
    says: str
    labels: Mapping[str, str] = field(default_factory=lambda: CONSUMED)


CASES = [
    Case(
        "K2DegradationSevere",
        "2m",
        {of("k2_degradation_level", CONSUMED): "4x40"},
        {of("k2_degradation_level", CONSUMED): "3x3 2x40"},
        "t is at level 4 of 4",
        "For a minute c:9464 has been at level 4: trades below CRITICAL and HIGH are "
        "deferred, and producers are asked to wait while the lag is large.",
    ),
    Case(
        "K2LagHigh",
        "2m",
        {of("k2_consumer_lag_seconds", CONSUMED): "95x40"},
        {of("k2_consumer_lag_seconds", CONSUMED): "30x40"},
        "t is 1m 35s behind",
        "The oldest trade that c:9464 has not stored is 1m 35s old.",
    ),
    Case(
        "K2CommitsStalled",
        "5m",
        {LAG: "7000x40", COMMITS: "12x40"},
        {LAG: "7000x40", COMMITS: "12+1x40"},
        "t is not being committed",
        "c:9464 has 7k records waiting and has not committed for two minutes.",
    ),
    Case(
        "K2OffersUnanswered",
        "2m",
        {of("k2_announcement_age_seconds", CONSUMER): "65x40"},
        {of("k2_announcement_age_seconds", CONSUMER): "2x40"},
        "No committer answers c:9464",
        "For 1m 5s nobody has answered its offers: it commits them by itself, as all consumers of the table do, and "
        "they get in each other's way.",
        CONSUMER,
    ),
    Case(
        "K2ConsumerStuck",
        "1m",
        {of("k2_status_age_seconds", CONSUMER): "45x40"},
        {of("k2_status_age_seconds", CONSUMER): "0.5x40"},
        "The consumer c:9464 stands still",
        "Its figures are 45s old: the process answers, and does nothing else.",
        CONSUMER,
    ),
    Case(
        "K2ConsumerDown",
        "2m",
        {of("up", CONSUMER): "0x40"},
        {of("up", CONSUMER): "1x40"},
        "The consumer c:9464 does not answer",
        "Prometheus has not reached c:9464 for half a minute.",
        CONSUMER,
    ),
    Case(
        "K2ConsumerAbsent",
        "2m",
        {of("up", API): "1x40"},
        {of("up", CONSUMER): "0x40"},
        "No consumer runs",
        "Prometheus knows of no consumer at all; trades wait in Kafka until its retention deletes them.",
        {"job": "k2-consumer"},
    ),
    Case(
        "K2RetentionLossNear",
        "1m",
        {of("k2_retention_left_seconds", CONSUMED): "900x40"},
        {of("k2_retention_left_seconds", CONSUMED): "80000x40"},
        "t: Kafka deletes unread trades in 15m 0s",
        "What c:9464 still needs of t is deleted by retention in 15m 0s.",
    ),
    Case(
        "K2TradesLost",
        "15m",
        {LOST: "0x40 2500x40"},
        {LOST: "2500x80"},  # lost long ago, and reported then
        "t has lost trades",
        "Kafka deleted 2.5k trades before they were read; seen in the last ten minutes.",
        {**TOPIC, "term": "lost"},
    ),
    Case(
        "K2BalanceBroken",
        "2m",
        {SEEN: "100x40", STORED: "93x40"},
        {SEEN: "100x40", STORED: "93x40", DEAD: "7x40"},
        "The counts of t do not balance",
        "c:9464 has seen 7 trades more than it can account for.",
    ),
    Case(
        "K2GapsOpen",
        "6m",
        {GAPS: "3x40"},
        {GAPS: "3x8 0x40"},
        "t has 3 open gaps",
        "Sequence numbers of t have been missing for five minutes, in 3 gaps.",
    ),
    Case(
        "K2GapTradesLost",
        "10m",
        {of("k2_lost_gap_trades", CONSUMED): "0x30 40x60"},
        {of("k2_lost_gap_trades", CONSUMED): "0x90"},
        "t: missing trades are given up",
        "40 sequence numbers stayed missing past the deadline, in the last half hour.",
        TOPIC,
    ),
    Case(
        "K2DeadLetters",
        "15m",
        {UNDECODABLE: "5x40 17x40"},
        {UNDECODABLE: "5x80", DEAD: "9x80"},
        "t gets dead letters",
        "12 records went to t.dlq in the last ten minutes.",
        TOPIC,
    ),
    Case(
        "K2DeferredLong",
        "65m",
        {OUTSTANDING: "900x300"},
        {OUTSTANDING: "900x100 0x4 900x200"},
        "t: trades have been deferred for an hour",
        "For an hour at least 900 trades have not been backfilled.",
    ),
    Case(
        "K2StateReduced",
        "3m",
        {of("k2_state_reduced", CONSUMED, store="redis"): "1x40"},
        {of("k2_state_reduced", CONSUMED, store="redis"): "0x40"},
        "t: the state store is REDUCED",
        "c:9464 follows sequences alone: its redis store is slow, gone, full or behind.",
        {**CONSUMED, "store": "redis"},
    ),
    Case(
        "K2MaintenanceFailing",
        "20m",
        {of("k2_maintenance_failing", CONSUMER): "1x100"},
        {of("k2_maintenance_failing", CONSUMER): "0x20 1x10 0x80"},
        "Maintenance of the table fails on c:9464",
        "For fifteen minutes no step of compaction, expiry or orphan removal has succeeded: queries slow down.",
        CONSUMER,
    ),
    Case(
        "K2DedupSaveFailing",
        "15m",
        {of("k2_dedup_save_failing", CONSUMED): "1x80"},
        {of("k2_dedup_save_failing", CONSUMED): "0x80"},
        "t: deduplication state is not saved",
        "c:9464 cannot save what it remembers of t; a restart reads it from the table.",
        CONSUMED,
    ),
    Case(
        "K2DedupFalsePositives",
        "90m",
        {TESTED: "0+1000x400", FALSE: "0+3x400", CONFIRMED: "0+0x400", PLANNED: "0.001x400"},
        {TESTED: "0+1000x400", FALSE: "0+1x400", CONFIRMED: "0+0x400", PLANNED: "0.001x400"},
        "t: Bloom chunks err more than twice as often as planned",
        "In the last hour c:9464 took 0.3% of the new ids of t for seen, and looked them up in the lake.",
    ),
    Case(
        "K2DedupForgetsEarly",
        "20m",
        {of("k2_dedup_chunks_forgotten_early_total", CONSUMED): "0x30 2x60"},
        {of("k2_dedup_chunks_forgotten_early_total", CONSUMED): "2x90"},
        "t: more ids come than deduplication may remember",
        "c:9464 has dropped Bloom chunks before their window was over: trades of their time are looked up in the lake, "
        "each of them.",
    ),
    Case(
        "K2DedupReduced",
        "3m",
        {of("k2_dedup_tier_reduced", CONSUMED): "1x40"},
        {of("k2_dedup_tier_reduced", CONSUMED): "1x4 0x40"},
        "t: copies across consumers may be stored",
        "c:9464 cannot claim ids of t, so that it finds copies in its own partitions only.",
    ),
    Case(
        "K2LineSilent",
        "20m",
        {TRADES_OF_A: "0+100x200", TRADES_OF_B: "0+100x40 4000x160"},
        {TRADES_OF_A: "0+100x40 4000x160", TRADES_OF_B: "0+100x40 4000x160"},
        "Line B is silent",
        "No trade of line B was stored for minutes, while others bring some.",
        {"line": "B"},
    ),
    Case(
        "K2LineMissing",
        "30m",
        {TRADES_OF_A: "0+1000x200", TRADES_OF_B: "0+980x200", COPIES_OF_B: "0+980x200"},
        {TRADES_OF_A: "0+1000x200", TRADES_OF_B: "0+995x200", COPIES_OF_B: "0+995x200"},
        "Line B lacks trades that other lines have",
        "In the last ten minutes 2% of all trades did not come on line B.",
        {"line": "B"},
    ),
    Case(
        "K2ApiNotReady",
        "2m",
        {of("k2_api_ready", API): "0x40"},
        {of("k2_api_ready", API): "1x40", of("up", API): "1x40"},
        "The query service a:8700 is not ready",
        "It does not answer, or its catalog does not, or it does not follow the stream.",
        API,
    ),
    Case(
        "K2ApiSlow",
        "12m",
        {
            of("k2_api_request_seconds_bucket", WAITED, le="0.5"): "0+10x80",
            of("k2_api_request_seconds_bucket", WAITED, le="1.0"): "0+20x80",
            of("k2_api_request_seconds_bucket", WAITED, le="+Inf"): "0+20x80",
        },
        {
            of("k2_api_request_seconds_bucket", WAITED, le="0.5"): "0+20x80",
            of("k2_api_request_seconds_bucket", WAITED, le="+Inf"): "0+20x80",
        },
        "/v1/ohlcv takes 990ms at p99",
        "For five minutes one answer in a hundred of /v1/ohlcv has begun later than after half a second.",
        {"route": "/v1/ohlcv"},
    ),
]


def document(case: Case, series: Mapping[str, str], *, expected: bool) -> dict[str, Any]:
    """The case as promtool reads it."""
    rule = ALERTS[case.alert]
    alert = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": {
            "summary": case.summary,
            "description": case.says,
            "runbook_url": f"stack/RUNBOOKS.md#{case.alert.lower()}",
        },
    }
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": [alert] if expected else []}],
    }
    return {"rule_files": [str(STACK / "rules.yml")], "evaluation_interval": "15s", "tests": [test]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_says_what_it_should_and_else_is_quiet(case: Case, tmp_path: Path) -> None:
    for name, series, expected in (("fires", case.fires, True), ("quiet", case.quiet, False)):
        file = tmp_path / f"{name}.yml"
        file.write_text(yaml.safe_dump(document(case, series, expected=expected)))
        promtool("test", "rules", str(file))


def test_what_was_lost_while_no_consumer_ran_is_reported_by_its_first_scrape(tmp_path: Path) -> None:
    """The total has been 2,500 from the start; before the pause it was 500."""
    case = next(case for case in CASES if case.alert == "K2TradesLost")
    for number, values in enumerate(["2500x20", "0x20 _x200 2500x20"]):
        file = tmp_path / f"{number}.yml"
        found = document(case, {LOST: values}, expected=True)
        found["tests"][0]["alert_rule_test"][0]["eval_time"] = ["3m", "58m"][number]
        file.write_text(yaml.safe_dump(found))
        promtool("test", "rules", str(file))


@pytest.mark.parametrize(
    ("tested", "confirmed", "false", "expected"),
    [
        ("0+40x400", "0+0x400", "0+1x400", False),  # 240 of 9,600 new ids: the plan lets expect ten false positives
        ("0+40000x400", "0+39000x400", "0+3x400", True),  # most are copies: 720 of 240,000 new ids
        ("0+40000x400", "0+0x400", "0+3x400", False),  # the same of 9,600,000 new ids
    ],
)
def test_false_positives_are_held_against_the_new_ids_that_were_tested_when_these_are_many(
    tested: str, confirmed: str, false: str, expected: bool, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.alert == "K2DedupFalsePositives")
    series = {TESTED: tested, CONFIRMED: confirmed, FALSE: false, PLANNED: "0.001x400"}
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump(document(case, series, expected=expected)))
    promtool("test", "rules", str(file))


def test_every_alert_has_a_case_and_is_complete() -> None:
    assert [case.alert for case in CASES] == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name


def test_promtool_accepts_configuration_and_rules(tmp_path: Path) -> None:
    """The key is where the service has it, which is not here."""
    key = tmp_path / "key"
    key.write_text("k" * 20)
    (tmp_path / "rules.yml").write_text((STACK / "rules.yml").read_text())
    config = (STACK / "prometheus.yml").read_text()
    assert config.count("/run/secrets/api_key") == 1
    (tmp_path / "prometheus.yml").write_text(config.replace("/run/secrets/api_key", str(key)))
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(STACK / "rules.yml"))

"""The end of every performance: each trade that Kafka acknowledged is accounted for, exactly once."""

from typing import Final

from k2ctl.demo.checks import balance_holds, duplicates_caught, stored_once
from k2ctl.demo.result import Billing
from k2ctl.demo.stage import Stage
from k2ctl.query.session import Session
from k2ctl.query.sql import sql

BILLING: Final = Billing(
    0,
    "The reconciliation",
    "Everything that was loaded, against everything that the table holds. The sum has to be exact.",
    (
        "Kafka's acknowledgements on one side, the table on the other. The sum has to be exact.",
        "`k2ctl verify` holds every trade to what was sent, by number and checksum: missing, doubled, altered.",
        "Produced is what the load counted, acknowledged what Kafka confirmed, stored what a query finds.",
    ),
)

_COUNT: Final = "SELECT count(*), count(DISTINCT message_id) FROM trades"


def play(stage: Stage) -> None:
    """What is left in Kafka goes into the table first."""
    stage.step("Reconciling what Kafka acknowledged with what the table holds")
    stage.catch_up()
    with Session.at(stage.endpoints) as session, sql(session, _COUNT) as answer:
        (row,) = answer.rows.read_all().to_pylist()
        missing = answer.evidence.missing
    rows, distinct = row.values()
    produced = sum(sent.distinct for sent in stage.sent)
    counts = stage.readings.counts()
    stage.result.trades = stage.acknowledged
    stage.check(stored_once(rows, distinct, produced, missing))
    stage.check(duplicates_caught(counts, stage.acknowledged - produced))
    stage.check(balance_holds(counts, stage.acknowledged))

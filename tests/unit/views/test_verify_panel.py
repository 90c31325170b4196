"""What `k2ctl verify` shows: figures that add up."""

import io

from rich.console import Console

from k2ctl.checks.verify.verification import Verified
from k2ctl.views.verify import verify_panel


def text_of(result: Verified) -> str:
    canvas = Console(width=120, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(verify_panel([result]))
    return captured.get()


def test_trades_of_a_load_that_was_killed_are_shown_beside_those_that_are_proven() -> None:
    result = Verified(
        "t", "e", 2, 1, expected=807_039, in_lake=1_007_584, acknowledged=1_135_585, of_unfinished=200_545
    )
    shown = text_of(result)
    assert "all 807,039 acknowledged trades are there" in shown
    assert "200,545 more are there of loads that run or were killed" in shown
    assert "1 load worker did not end" in shown


def test_without_such_loads_nothing_is_said_of_them() -> None:
    assert "killed" not in text_of(Verified("t", "e", 1, 0, expected=5, in_lake=5, acknowledged=5))


def test_an_earlier_kafka_that_was_not_looked_at_is_named() -> None:
    found = Verified("trades", "now", 1, 0, expected=5, elsewhere={"cluster-1/topic-1": 20_000})
    shown = " ".join(text_of(found).split())
    assert "not looked at: 20,000 trades that an earlier Kafka acknowledged (cluster-1/topic-1)" in shown

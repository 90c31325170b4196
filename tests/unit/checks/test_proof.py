"""`verify` as an assertion: it holds only when every topic does, and names what is wrong."""

from k2ctl.checks.verify.verification import Verified, proof_of


def verified(expected: int, **faults: int) -> Verified:
    result = Verified("trades", "epoch", 1, 0, expected=expected, in_lake=expected - sum(faults.values()))
    result.faults.update(faults)
    return result


def test_it_holds_when_every_topic_does_and_there_is_one() -> None:
    assert proof_of([verified(9), verified(5)]).held
    assert not proof_of([verified(9), verified(5, missing=1)]).held
    assert not proof_of([]).held


def test_each_fault_is_named_with_its_trades() -> None:
    assert "14 acknowledged, 11 in the table" in proof_of([verified(9, missing=2), verified(5, altered=1)]).measured
    assert "2 missing, 1 altered" in proof_of([verified(9, missing=2), verified(5, altered=1)]).measured

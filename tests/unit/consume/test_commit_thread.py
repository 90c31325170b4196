"""How long a commit will take, which decides whether a consumer that is to stop begins it."""

import pytest

from k2ctl.consume.commit_thread import USUAL_RATE, expected_s


def test_commits_of_few_rows_say_nothing_of_one_of_more() -> None:
    assert expected_s(852, 0.15, []) == 0.15
    assert expected_s(100_000, 0.15, []) == 100_000 / USUAL_RATE


def test_large_commits_say_what_a_row_takes() -> None:
    assert expected_s(100_000, 0.15, [200_000.0, 10_000.0, 100_000.0]) == pytest.approx(1.0)
    assert expected_s(1_000, 0.15, [100_000.0]) == 0.15

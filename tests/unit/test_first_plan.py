"""What the platform's first plan named is there: the table of it is held to the code and the tests."""

import re
from pathlib import Path

import pytest

from k2ctl.checks.validate.figures import count_tests

CODE = Path(__file__).parent.parent.parent / "k2ctl"
SECTION = (CODE / "README.md").read_text().split("## What the plan named\n")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if re.match(r"\| 0\d ", line)
]

NAMED = (
    "load generator", "degradation demo", "state store", "sequence tracker", "hybrid deduplicator", "hybrid query",
    "demo narrative", "cost model", "validation",
)  # fmt: skip

MOST_FACTOR = 2
"""Tests may come without a change of the table; a number that says less than half of them is out of date."""


def targets(cell: str) -> list[Path]:
    return [CODE / target for target in re.findall(r"\]\(([^)#]+)", cell)]


def test_every_name_of_the_plan_has_a_row_with_its_path_there() -> None:
    assert tuple(row[1].split(",")[0] for row in ROWS) == NAMED
    assert all(re.search(r"\*[\w./-]+\.(py|md)\*", row[1]) for row in ROWS)
    assert {row[0] for row in ROWS} == {f"{step:02}" for step in range(3, 10)}


@pytest.mark.parametrize("row", ROWS, ids=[row[1].split(",")[0] for row in ROWS])
def test_a_row_names_what_is_there_and_what_to_type(row: list[str]) -> None:
    _, _, where, command, figure, _ = row
    assert targets(where)
    assert all(target.exists() for target in targets(where)), where
    assert "`k2ctl " in command
    value, _, source = figure.rpartition(": ")
    assert re.search(r"\d", value)
    assert "`k2ctl " in source or targets(source)


@pytest.mark.parametrize("row", ROWS, ids=[row[1].split(",")[0] for row in ROWS])
def test_a_row_counts_the_tests_of_what_it_names(row: list[str]) -> None:
    said, counted = int(row[5].split()[0]), sum(map(count_tests, targets(row[5])))
    assert said <= counted <= MOST_FACTOR * said, f"{row[1]}: the table says {said}, there are {counted}"


def test_where_a_step_differs_one_sentence_says_why() -> None:
    differing = re.findall(r"^- \*\*([\d, ]+)\*\* (.*)$", SECTION, re.M)
    assert {step for steps, _ in differing for step in steps.split(", ")} == {row[0] for row in ROWS}
    assert all(why.endswith(".") for _, why in differing)

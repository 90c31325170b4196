"""`k2ctl bench group`, made small: on each kind of catalog, authors that commit together lose and double nothing."""

from dataclasses import replace

import pytest

from k2ctl.checks.bench.group_commit import ROWS, bench_group, commits_of, offers_at_once
from k2ctl.checks.bench.suite import Bench, Sizes
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import load_profile

pytestmark = pytest.mark.slow

PROFILE = load_profile("laptop")


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("catalog", ["sqlite", "postgresql", "rest"])
def test_authors_commit_together_on_each_kind_of_catalog(
    endpoints: Endpoints, catalog: str, request: pytest.FixtureRequest
) -> None:
    if catalog == "rest":
        uri = request.getfixturevalue("rest_server").catalog(endpoints.warehouse)
        endpoints = replace(endpoints, catalog_uri=uri)
    elif catalog == "postgresql":
        endpoints = replace(endpoints, catalog_uri=request.getfixturevalue("postgres_server").database())
    measured = commits_of(endpoints, PROFILE, 6, 6.0)
    with Lake.at(endpoints) as lake:
        table = lake.table()
        stored = len(table.scan(selected_fields=("trade_id",)).to_arrow())
        offsets = [each.next_offset for each in checkpoints_of(table).by_partition.values()]
    commits = len(measured.authors_ms) + 6  # the first of each is not measured
    assert stored == sum(offsets) == commits * ROWS
    assert measured.offers + measured.direct >= commits
    assert measured.offers > len(measured.table_ms), "some were committed together"


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_one_commit_of_many_offers_takes_little_longer_than_one_of_one(endpoints: Endpoints) -> None:
    one_ms, many_ms = offers_at_once(endpoints, PROFILE, 3)
    assert min(many_ms) < 20 * min(one_ms)


def test_consumers_and_authors_are_measured_with_their_goals() -> None:
    sizes = Sizes(group_authors=3, group_consumers=2, group_s=4.0)
    figures = bench_group(Bench(PROFILE, "embedded", lambda _: None, sizes))
    assert {figure.case for figure in figures} == {"3 consumers", "at once", "2 processes"}
    assert sum(figure.goal is not None for figure in figures) == 6
    fresh = next(figure for figure in figures if figure.unit == "s")
    assert fresh.value > 0

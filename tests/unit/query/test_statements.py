"""Queries are run, and EXPLAIN of a query; nothing else, whatever it is wrapped in."""

import pytest

from k2ctl.errors import UsageError
from k2ctl.options import parameters_said
from k2ctl.query.refusals import SqlError
from k2ctl.query.statements import check

QUERIES = [
    "SELECT 1;",
    "FROM trades",
    "SHOW TABLES",
    "DESCRIBE trades",
    "PIVOT trades ON side USING count(*);",
    "PIVOT trades ON side IN ('BUY', 'SELL') USING count(*)",
    "SELECT * FROM (PIVOT trades ON side USING sum(quantity)) WHERE symbol = 'BHP'",
    "EXPLAIN SELECT 1",
    "explain analyze from trades",
    "/* ; */ EXPLAIN (ANALYZE, FORMAT json) SELECT 'ä;' -- ;\n;",
    "EXPLAIN (SELECT 1) UNION (SELECT 2)",
    "EXPLAIN PIVOT trades ON side USING count(*)",
]
OTHERS = [
    "CREATE TABLE x AS PIVOT trades ON side USING count(*)",
    "INSERT INTO x PIVOT trades ON side USING count(*) RETURNING *",
    "COPY (PIVOT trades ON side USING count(*)) TO '/tmp/k2-out.csv'",
    "EXPLAIN COPY (SELECT 1) TO '/tmp/k2-out.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/k2-out.csv'",
    "EXPLAIN ANALYZE CREATE TABLE x AS PIVOT trades ON side",
    "EXPLAIN (ANALYZE) DELETE FROM trades",
    "EXPLAIN (FORMAT json) DROP VIEW trades",
    "EXPLAIN ANALYZE SET memory_limit = '9GB'",
    "EXPLAIN ANALYZE PRAGMA database_list",
    "EXPLAIN ANALYZE ATTACH '/tmp/k2-x.db'",
    "EXPLAIN SELECT 1; DROP VIEW trades",
    "EXPLAIN SELECT 1) UNION SELECT * FROM (SELECT 1",
    "PIVOT trades ON side; PIVOT trades ON side",
    "EXPLAIN",
    "PREPARE p AS SELECT 1",
]


@pytest.mark.parametrize("text", QUERIES)
def test_a_query_and_its_plan_are_run(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", OTHERS)
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(SqlError):
        check(text)


def test_each_parameter_has_a_value_and_each_value_a_parameter() -> None:
    text = "SELECT $symbol, $n"
    check(text, {"symbol": "BHP", "n": "1"})
    with pytest.raises(SqlError, match=r"\$n has no value"):
        check(text, {"symbol": "BHP"})
    with pytest.raises(SqlError, match=r"no \$venue"):
        check(text, {"symbol": "BHP", "n": "1", "venue": "ASX"})
    with pytest.raises(SqlError, match="takes no parameters"):
        check("SELECT * FROM (PIVOT trades ON side) WHERE symbol = $symbol", {"symbol": "BHP"})


def test_parameters_are_names_with_values() -> None:
    assert parameters_said(["symbol=A=B", "empty="]) == {"symbol": "A=B", "empty": ""}
    for wrong in (["symbol"], ["=x"], ["1a=x"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            parameters_said(wrong)

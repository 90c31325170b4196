"""What another program does to the table, while the service follows it."""

from k2ctl.domain.topics import TABLE
from k2ctl.lake.catalog import Lake
from tests.support.api import SPAN, Service


def test_a_column_that_is_renamed_under_the_service_is_a_problem_with_its_way_back(fresh: Service) -> None:
    headers = {"Authorization": "Bearer " + "k" * 20}
    table = Lake.at(fresh.endpoints).catalog.load_table(TABLE)
    routes = {"/v1/trades/recent": {**SPAN, "symbol": "S03"}, "/v1/ohlcv": {**SPAN, "symbol": "S04", "bar": "1s"}}
    with table.update_schema() as schema:
        schema.rename_column("price", "px")
    for route, params in routes.items():
        answer = fresh.client.get(route, params=params, headers=headers)
        assert answer.status_code == 503
        assert "was renamed to px" in answer.text
        assert "RENAME COLUMN px TO price" in answer.text
    with table.update_schema() as schema:
        schema.rename_column("px", "price")
    for route, params in routes.items():
        answer = fresh.client.get(route, params=params, headers=headers)
        assert answer.json()["evidence"]["complete"]

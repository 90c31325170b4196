"""Whatever fits the OpenAPI document is answered as it says, and never with an error of the server."""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.api import Service

PATHS = ("/v1/trades/recent", "/v1/ohlcv", "/v1/symbols", "/v1/gaps", "/v1/status", "/v1/history", "/healthz",
         "/readyz")  # fmt: skip
CHECKS = [content_type_conformance, response_headers_conformance, response_schema_conformance, status_code_conformance]


def test_the_service_keeps_to_its_document(service: Service) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    document = service.client.get("/openapi.json").json()
    assert set(PATHS) <= set(document["paths"])
    for path in PATHS:
        strategy = schema[path]["GET"].as_strategy()

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        def probe(case: schemathesis.Case) -> None:
            response = case.call(base_url=service.url, timeout=20)
            assert response.status_code < 500, response.text
            case.validate_response(response, checks=CHECKS)

        from hypothesis import given

        given(case=strategy)(probe)()

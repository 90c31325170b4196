"""The platform: as it stands, and over the last hour."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from k2ctl.api.engine import WarmEngine
from k2ctl.api.history import KEPT_MINUTES, SERIES
from k2ctl.api.render import JSON
from k2ctl.api.routes.parameters import Count
from k2ctl.api.settings import Settings

_NUMBERS: Final = {"type": "array", "items": {"type": ["number", "null"]}}
_HISTORY: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Columns of one length, a row each step; null is what is not known",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["step_s", "at_us", "series", "transitions"],
                    "properties": {
                        "step_s": {"type": "integer"},
                        "at_us": {"type": "array", "items": {"type": "integer"}},
                        "series": {
                            "type": "object",
                            "required": list(SERIES),
                            "properties": dict.fromkeys(SERIES, _NUMBERS),
                        },
                        "transitions": {
                            "type": "array",
                            "items": {"type": "object", "required": ["at_us", "from", "to", "reason"]},
                        },
                    },
                }
            }
        },
    }
}


def add_platform(api: APIRouter, engine: WarmEngine, settings: Settings) -> None:
    """`GET /v1/status` and `GET /v1/history`."""

    @api.get("/status", tags=["Platform"], summary="The service and the platform", response_model=None)
    def status() -> dict[str, Any]:
        """The service, and the platform as `k2ctl watch --json` shows it."""
        return {**engine.status(), "flight_port": settings.flight_port}

    @api.get(
        "/history",
        tags=["Platform"],
        summary="The platform over the last hour",
        responses=_HISTORY,
        response_class=Response,
    )
    def history(
        minutes: Annotated[Count, Query(ge=1, le=KEPT_MINUTES, description="How far back from now.")] = KEPT_MINUTES,
    ) -> Response:
        """The platform's figures every two seconds, and the changes of level, of the last hour.

        The service takes them down from its start on. What it did not see is a step of nulls.
        """
        return Response(orjson.dumps(engine.platform.history.document(minutes)), media_type=JSON)

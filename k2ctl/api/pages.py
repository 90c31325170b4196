"""What a browser gets before it asks for data: the live page and the files that it is made of, which are shipped.

No page holds data: each asks for it with the key that its user gives. So all are open, and nothing else is served here.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.exceptions import HTTPException
from starlette.responses import Response

_MODULES: Final = (
    "page", "connection", "elements", "format", "history", "platform", "platform_charts", "chart", "bands", "consumers",
    "symbol", "market",
)  # fmt: skip
PAGE_FILES: Final = ("page/page.css", "page/uplot.css", "page/uplot.js", *(f"page/{name}.js" for name in _MODULES))
"""The live page's own, beside `page/index.html`: its modules, and the library that draws its charts."""

STATIC: Final = "/static/"
ASSETS: Final = {PurePosixPath(path).name: path for path in PAGE_FILES}
"""Name below `/static/` → the shipped file. What is not listed is not served."""

OPEN_PAGES: Final = frozenset({"/", *(STATIC + name for name in ASSETS)})
"""Paths that need no key."""

_TYPES: Final = {".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript"}


@dataclass(frozen=True)
class Asset:
    """A shipped file as it is sent."""

    content: bytes
    media_type: str
    # The same for the same content, so that a browser that has it gets no more than that.
    etag: str

    @classmethod
    def shipped(cls, path: str) -> "Asset":
        """The file at a path below this package."""
        content = files("k2ctl.api").joinpath(path).read_bytes()
        return cls(content, _TYPES[PurePosixPath(path).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def response(self, known: str) -> Response:
        """The file, or that the client has it; `known` is the header `If-None-Match`."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if self.etag in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


Known = Annotated[str, Header(alias="If-None-Match", max_length=500)]


def pages_router() -> APIRouter:
    """`GET /` and `GET /static/NAME`."""
    api = APIRouter(include_in_schema=False)
    index = Asset.shipped("page/index.html")
    assets = {name: Asset.shipped(path) for name, path in ASSETS.items()}

    @api.get("/")
    async def live_page(if_none_match: Known = "") -> Response:
        return index.response(if_none_match)

    @api.get(STATIC + "{name}")
    async def static(name: str, if_none_match: Known = "") -> Response:
        if name not in assets:
            raise HTTPException(404, "No such file.")
        return assets[name].response(if_none_match)

    return api

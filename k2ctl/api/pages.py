"""What a browser gets before it asks for data: pages, and the files that they are made of. All of them are shipped.

No page holds data: each asks for it with the key that its user gives. So all are open, and nothing else is served here.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.exceptions import HTTPException
from starlette.responses import Response

from k2ctl.api.runbook import runbook_page

_MODULES: Final = (
    "page", "connection", "elements", "format", "history", "platform", "platform_charts", "chart", "bands", "consumers",
    "symbol", "market",
)  # fmt: skip
PAGE_FILES: Final = ("page/page.css", "page/uplot.css", "page/uplot.js", *(f"page/{name}.js" for name in _MODULES))
"""The live page's own, beside `page/index.html`: its modules, and the library that draws its charts."""
DOCS_FILES: Final = ("docs/docs.css", "docs/docs.js")
"""Of the pages to read."""

SWAGGER: Final = "fastapi_swagger.resources"
SWAGGER_FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js")
"""Swagger UI shows the OpenAPI document; that package carries its release."""

STATIC: Final = "/static/"
ASSETS: Final = {
    **{PurePosixPath(path).name: ("k2ctl.api", path) for path in (*PAGE_FILES, *DOCS_FILES)},
    **{name: (SWAGGER, name) for name in SWAGGER_FILES},
}
"""Name below `/static/` → a package, and a file of it. What is not listed is not served."""

PAGES: Final = frozenset({"/", "/docs", "/runbook"})
OPEN_PAGES: Final = PAGES | {STATIC + name for name in ASSETS}
"""Paths that need no key."""

_TYPES: Final = {".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript"}
_SMALL: Final = 1_024

IfNoneMatch = Annotated[str, Header(max_length=500)]
AcceptEncoding = Annotated[str, Header(max_length=500)]


@dataclass(frozen=True)
class Asset:
    """A shipped file as it is sent."""

    content: bytes
    media_type: str

    @classmethod
    def shipped(cls, path: str, package: str = "k2ctl.api") -> "Asset":
        """The file at a path below a package."""
        return cls(files(package).joinpath(path).read_bytes(), _TYPES[PurePosixPath(path).suffix])

    @cached_property
    def etag(self) -> str:
        """The same for the same content, however it is packed: a browser that has it gets no more than that."""
        return f'W/"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    @cached_property
    def packed(self) -> bytes:
        """As gzip; made when somebody first asks for it."""
        return gzip.compress(self.content, 6, mtime=0)

    def response(self, known: str, encodings: str) -> Response:
        """The file, or that the client has it. known, encodings: the headers If-None-Match and Accept-Encoding."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if self.etag in known:
            return Response(status_code=304, headers=headers)
        if "gzip" not in encodings or len(self.content) < _SMALL:
            return Response(self.content, headers=headers, media_type=self.media_type)
        return Response(self.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.media_type)


def pages_router() -> APIRouter:
    """`GET /`, `GET /docs`, `GET /runbook` and `GET /static/NAME`."""
    api = APIRouter(include_in_schema=False)
    assets = {name: Asset.shipped(path, package) for name, (package, path) in ASSETS.items()}
    index, docs = Asset.shipped("page/index.html"), Asset.shipped("docs/index.html")
    runbook = Asset(runbook_page().encode(), _TYPES[".html"])

    @api.get("/")
    def live_page(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
        return index.response(if_none_match, accept_encoding)

    @api.get("/docs")
    def docs_page(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
        return docs.response(if_none_match, accept_encoding)

    @api.get("/runbook")
    def runbooks(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
        return runbook.response(if_none_match, accept_encoding)

    @api.get(STATIC + "{name}")
    def static(name: str, if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
        if name not in assets:
            raise HTTPException(404, "No such file.")
        return assets[name].response(if_none_match, accept_encoding)

    return api

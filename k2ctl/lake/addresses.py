"""What addresses say: of a catalog which kind it is, and where its file is; where a file of the table is."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

GLUE: Final = "glue://"
_FILE: Final = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)(.*)")


def is_rest(catalog_uri: str) -> bool:
    """Whether an address is that of a REST service."""
    return catalog_uri.startswith(("http://", "https://"))


def file_of(catalog_uri: str) -> Path | None:
    """The file of a catalog in SQLite, as SQLAlchemy reads it; None for a server's, and for one in memory."""
    found = _FILE.fullmatch(catalog_uri)
    name = unquote(found[1]) if found else ":memory:"
    return None if name == ":memory:" else Path(name)


def is_gone(catalog_uri: str) -> bool:
    """Whether a catalog is a file that is not there."""
    file = file_of(catalog_uri)
    return file is not None and not file.exists()


def is_folder(catalog_uri: str) -> bool:
    """Whether a folder is where the file of a catalog should be."""
    file = file_of(catalog_uri)
    return file is not None and file.is_dir()


@lru_cache(65_536)
def local_path(location: str) -> Path | None:
    """The path of a file on a local disk; None when it is in an object store."""
    parsed = urlparse(location)
    return Path(f"{parsed.netloc}{parsed.path}") if parsed.scheme in {"file", ""} else None

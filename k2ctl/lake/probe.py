"""Checks of the lake's storage: an object is written, read and deleted; the catalog lists its namespaces."""

import uuid

from pyiceberg.io import load_file_io
from sqlalchemy.exc import SQLAlchemyError

from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.redact import without_password


def object_round_trip(endpoints: Endpoints) -> None:
    """Put an object into the warehouse, get it, delete it.

    Raises:
        LakeError: it did not come back as it was.
    """
    location = f"{endpoints.warehouse}/.probe/{uuid.uuid4().hex}"
    word = uuid.uuid4().bytes
    try:
        files = load_file_io(endpoints.storage, endpoints.warehouse)
        with files.new_output(location).create() as stream:
            stream.write(word)
        with files.new_input(location).open() as stream:
            got = stream.read()
        files.delete(location)
    except (OSError, ValueError) as error:
        raise LakeError(
            f"The warehouse {endpoints.warehouse} failed a write and read of an object: {first_line(error)}",
            "See: k2ctl stack status",
        ) from error
    if got != word:
        raise LakeError(
            f"The warehouse {endpoints.warehouse} returned another object than was written.", "See: k2ctl stack status"
        )


def require_known_tables(endpoints: Endpoints) -> None:
    """Refuse files at the tables' places that the catalog does not know.

    Raises:
        UnknownTable: the catalog was lost, or rolled back.
    """
    with Lake.at(endpoints) as lake:
        for name in (TABLE, REFERENCE_TABLE):
            lake.find_table(name)


def list_catalog(endpoints: Endpoints) -> list[str]:
    """The namespaces of the catalog.

    Raises:
        LakeError: it does not answer.
    """
    try:
        with Lake.at(endpoints) as lake:
            return [".".join(namespace) for namespace in lake.catalog.list_namespaces()]
    except (SQLAlchemyError, OSError) as error:
        raise LakeError(
            f"The catalog {without_password(endpoints.catalog_uri)} does not list its namespaces: {first_line(error)}",
            "See: k2ctl stack status",
        ) from error

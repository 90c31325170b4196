"""A REST catalog tried for real, with a table of its own: does it keep what k2ctl builds upon.

The protocol says what a service should do. Whether it does, and whether its keys open the files, shows only in use.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField

from k2ctl.domain.topics import TABLE
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.addresses import is_rest
from k2ctl.lake.catalog import Lake
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction, stage_tag
from k2ctl.lake.rest_service import ASK, RestServiceCatalog
from k2ctl.lake.trouble import trouble

PREFIX: Final = "k2_trial_"
_PROPERTY: Final = "k2.trial"
_TAG: Final = "k2-trial"
_STATUS: Final = "See: k2ctl stack status"


def limits_of(endpoints: Endpoints) -> list[str]:
    """What the catalog does not offer, in words; none for a database.

    Raises:
        LakeError: it does not answer, or lacks what k2ctl cannot do without.
    """
    with Lake.at(endpoints, trusting=True) as lake:
        return lake.catalog.lacks() if isinstance(lake.catalog, RestServiceCatalog) else []


def try_service(endpoints: Endpoints) -> list[str]:
    """Make a table, put a file there, commit, commit again from the same base, and drop it; nothing for a database.

    Returns what was left behind, in words.

    Raises:
        LakeError: what the service, or the store behind it, did not do.
    """
    with Lake.at(endpoints, trusting=True) as lake:
        if not isinstance(lake.catalog, RestServiceCatalog):
            return []
        name = f"{TABLE.rpartition('.')[0]}.{PREFIX}{uuid.uuid4().hex[:8]}"
        table = lake.ensure(name, Schema(NestedField(1, "n", LongType(), required=False)))
        try:
            with lake.answering():
                _round_trip(table.io, table.location() + lake.catalog.side_suffix)
                _try_commits(lake, name)
        finally:
            left = _dropped(lake, name)
        return left


def object_round_trip(endpoints: Endpoints) -> None:
    """Put an object into the warehouse, get it, delete it. Where a REST service decides on places: beside the table.

    Raises:
        LakeError: it did not come back as it was.
    """
    if not is_rest(endpoints.catalog_uri):
        _round_trip(load_file_io(endpoints.storage, endpoints.warehouse), endpoints.warehouse)
        return
    with Lake.at(endpoints, trusting=True) as lake:
        table = lake.find_table()
        if table is not None:
            _round_trip(table.io, table.location() + lake.catalog.side_suffix)


def _round_trip(io: FileIO, folder: str) -> None:
    location, word = f"{folder}/.probe/{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        with io.new_output(location).create() as stream:
            stream.write(word)
        with io.new_input(location).open() as stream:
            got = stream.read()
        io.delete(location)
    except (OSError, ValueError) as error:
        raise LakeError(
            f"The warehouse {folder} failed a write and read of an object: {first_line(error)}", _STATUS
        ) from error
    if got != word:
        raise LakeError(f"The warehouse {folder} returned another object than was written.", _STATUS)


def _try_commits(lake: Lake, name: str) -> None:
    """Rows and offsets ride in one commit, a commit from an old base is refused, and what was confirmed is there."""
    where = without_password(lake.catalog_uri)
    stale = lake.catalog.load_table(name)
    _commit(lake.catalog.load_table(name), "first")
    if not _has(lake.catalog.load_table(name), "first"):
        raise LakeError(f"The catalog {where} confirmed a commit, and does not have it.", ASK)
    if _TAG not in lake.catalog.load_table(name).metadata.refs:
        raise LakeError(f"The catalog {where} keeps no tags; one holds the second copy of the offsets.", ASK)
    with suppress(CommitFailedException):
        _commit(stale, "second")
        raise LakeError(
            f"The catalog {where} takes a commit that is built upon an old snapshot: trades would be stored twice.", ASK
        )
    if not _has(lake.catalog.load_table(name), "first"):
        raise LakeError(f"The catalog {where} refused a commit, and has its properties.", ASK)


def _commit(table: Table, word: str) -> None:
    with QuickTransaction(table) as transaction:
        with transaction.update_snapshot(snapshot_properties={_PROPERTY: word}).merge_append():
            pass
        transaction.set_properties({_PROPERTY: word})
        stage_tag(transaction, _TAG, transaction.table_metadata.current_snapshot_id or 0)


def _has(table: Table, word: str) -> bool:
    """Whether snapshot and property are of one commit."""
    snapshot = table.metadata.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    return table.metadata.properties.get(_PROPERTY) == summary.get(_PROPERTY) == word


def _dropped(lake: Lake, name: str) -> list[str]:
    """Drop the table with its files, or else without them; what is left, in words."""
    ways: tuple[tuple[Callable[[str], None], str], ...] = (
        (lake.catalog.purge_table, ""),
        (lake.catalog.drop_table, f"the files of {name}, which was only tried"),
    )
    for drop, left in ways:
        try:
            drop(name)
        except trouble():
            continue
        return [left] if left else []
    return [f"the table {name}, which was only tried"]

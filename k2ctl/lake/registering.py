"""Registering a table again: the catalog was lost or rolled back, and the table's metadata files are there.

One of them becomes the table. Other metadata at its place, of other tables or of later commits, is given up: it moves
into the quarantine beside the table, so that the place has one table again.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError

from k2ctl.domain.topics import REFERENCE_TABLE
from k2ctl.errors import LakeError, UsageError
from k2ctl.lake.catalog import CATALOG_NAME, Lake
from k2ctl.lake.library_errors import taken_errors
from k2ctl.lake.place import MetadataFile, metadata_files, same_file
from k2ctl.lake.side_folder import SideFolder


@dataclass(frozen=True)
class Registration:
    """What is to be done for one table."""

    name: str
    # The metadata file that becomes the table.
    chosen: MetadataFile
    # The one that the catalog has now, if any.
    instead_of: str | None
    # Metadata files that leave the place.
    given_up: tuple[MetadataFile, ...]

    @property
    def newest_given_up(self) -> list[MetadataFile]:
        """Of every table that is given up, its newest file."""
        return list({file.table_uuid: file for file in self.given_up}.values())


def plan(lake: Lake, wanted: str = "") -> list[Registration]:
    """The tables whose place and catalog do not agree. wanted: the metadata file to take; else the newest one.

    Raises:
        UsageError: several tables are at one place, and `wanted` names none of their files; or the place is unknown.
        LakeError: the database knows the table under another name, or its whole place is gone.
    """
    found = []
    with lake.answering():
        rows = lake.catalog.rows()
        for name in (lake.name, REFERENCE_TABLE):
            current = rows.get((CATALOG_NAME, name))
            place = current.rpartition("/metadata/")[0] if current else lake.place_of(name) or _place_in(wanted, name)
            if not place and name == lake.name and not wanted:
                raise UsageError(
                    f"A REST catalog decides on the place of a table, and this one does not know {name}.",
                    "Name its newest metadata file: k2ctl lake register --metadata FILE",
                )
            files = metadata_files(lake.file_io(), place) if place else []
            if current and not files:
                raise LakeError(
                    f"The catalog names {current}, and no metadata of {name} is at its place.",
                    "Put the warehouse back where it was, or restore it from a backup; then: k2ctl lake status",
                )
            one = _planned(lake, name, current, files, wanted)
            if one is not None:
                _require_unnamed(one, rows)
                found.append(one)
    if wanted and not any(same_file(one.chosen.location, wanted) for one in found):
        raise UsageError(f"{wanted} is no metadata file that could be registered.", "See: k2ctl lake register")
    return found


def _place_in(wanted: str, name: str) -> str:
    """The place of a table whose metadata file is named; services that decide on it begin it with the table's name."""
    place = wanted.rpartition("/metadata/")[0]
    return place if place.rpartition("/")[2].startswith(name.rpartition(".")[2]) else ""


def _planned(
    lake: Lake, name: str, current: str | None, files: Sequence[MetadataFile], wanted: str
) -> Registration | None:
    named = [file for file in files if same_file(file.location, wanted)]
    if not files or (wanted and not named):
        return None
    if len({file.table_uuid for file in files}) > 1 and not named:
        newest = {file.table_uuid: file for file in files}
        listed = "".join(f"\n  {file}" for file in newest.values())
        raise UsageError(
            f"Several tables are at the place of {name}; their newest metadata files:{listed}",
            "Choose the one to go on with: k2ctl lake register --metadata FILE. The others are given up.",
        )
    chosen = named[0] if named else _newest_whole(lake, files)
    given_up = tuple(f for f in files if f.table_uuid != chosen.table_uuid or f.commit > chosen.commit)
    if current and same_file(current, chosen.location) and not given_up:
        return None
    young = [file for file in files if file.commit + 1 >= chosen.commit]
    if not wanted and current and any(same_file(current, file.location) for file in young):
        return None  # one commit more may be another writer's that is swapping now
    return Registration(name, chosen, current, given_up)


def _newest_whole(lake: Lake, files: Sequence[MetadataFile]) -> MetadataFile:
    """The newest whose list of manifests is there: that of a commit which lost its race has been deleted."""
    io = lake.file_io()
    whole = (f for f in reversed(files) if f.manifest_list is None or io.new_input(f.manifest_list).exists())
    found = next(whole, None)
    if found is None:
        raise LakeError(
            f"No metadata file of {files[-1].location.rpartition('/')[0]} leads to a snapshot that is there.",
            "Put the table's files back from a copy.",
        )
    return found


def _require_unnamed(one: Registration, rows: dict[tuple[str, str], str]) -> None:
    """Refuse a second name of one table: each name would lose the commits of the other."""
    folder = one.chosen.location.rpartition("/")[0]
    for (catalog, name), location in rows.items():
        if (catalog, name) != (CATALOG_NAME, one.name) and location.rpartition("/")[0] == folder:
            raise LakeError(
                f"The database knows a table at this place already, as {name} of the catalog '{catalog}': {location}",
                "Remove that name first: two names of one table lose each other's commits.",
            )


def register(lake: Lake, one: Registration) -> None:
    """Make the chosen metadata file the table; then clear away what is given up.

    Raises:
        LakeError: the catalog has changed in the meantime, or does not answer.
    """
    with lake.answering():
        if one.instead_of is None:
            with suppress(NamespaceAlreadyExistsError, *taken_errors()):  # another process has made it
                lake.catalog.create_namespace(one.name.rpartition(".")[0])
            try:
                lake.catalog.register_table(one.name, one.chosen.location)
            except TableAlreadyExistsError as error:
                raise _changed() from error
        elif not same_file(one.instead_of, one.chosen.location) and not lake.catalog.point_to(
            one.name, one.instead_of, one.chosen.location
        ):
            raise _changed()
        try:
            folder = SideFolder(lake.catalog.load_table(one.name))
        except NoSuchTableError as error:
            raise _changed() from error
        for file in one.given_up:
            folder.quarantine(file.location, folder.read(file.location))
            folder.delete(file.location)


def _changed() -> LakeError:
    return LakeError("The catalog has changed in the meantime.", "Look again: k2ctl lake register")

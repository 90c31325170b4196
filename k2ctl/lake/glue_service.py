"""AWS Glue as a catalog, through pyiceberg's own client. Tried on a fake of Glue only, which is no proof of Glue.

Region and warehouse are named, credentials are those of the machine, as every AWS client finds them. The client writes
the metadata files, and Glue swaps by the version of the table's entry.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.io import FileIO
from pyiceberg.table import Table

from k2ctl.errors import LakeError


class GlueServiceCatalog(GlueCatalog):
    """The same as `database.DatabaseCatalog` for Glue."""

    reads_back: Final = True
    """Whether Glue gives every reader the newest entry is not known here."""

    lists_namespaces: Final = True

    side_suffix: Final = "-k2"
    """The folder for other files is beside the table: the machine's own keys open the whole warehouse."""

    def _names(self) -> Iterator[str]:
        for namespace in self.list_namespaces():
            yield from (".".join(name) for name in self.list_tables(namespace))

    def rows(self) -> dict[tuple[str, str], str]:
        """(this catalog's name, table's name) → its metadata file, of every Iceberg table of the account."""
        found = {name: self.location_of(name) for name in self._names()}
        return {(self.name, name): location for name, location in found.items() if location}

    def known_uuids(self) -> set[str]:
        """The Iceberg tables of the account."""
        return {str(self.load_table(name).metadata.table_uuid) for name in self._names()}

    def location_of(self, name: str) -> str | None:
        """The metadata file of a table; None where there is no such table."""
        namespace, _, table = name.rpartition(".")
        try:
            entry = self.glue.get_table(DatabaseName=namespace, Name=table)["Table"]
        except self.glue.exceptions.EntityNotFoundException:
            return None
        location: str | None = entry.get("Parameters", {}).get("metadata_location")
        return location

    def read_table(self, name: str, _: str, __: FileIO) -> Table:
        """A table of `rows`."""
        return self.load_table(name)

    def point_to(self, name: str, before: str, location: str) -> bool:
        """Give a table another metadata file; False where it has not `before` any more.

        Raises:
            LakeError: the client does not do this.
        """
        if self.location_of(name) != before:
            return False
        raise LakeError(
            f"Glue's client gives a table that it knows no other metadata file: {name}",
            f"Delete its entry in Glue, not its files, then: k2ctl lake register --metadata {location}",
        )


RETRIES: Final = 3
"""Of one request: some four seconds. With the client's ten, a Glue that does not answer was named after half a minute;
commits and maintenance try again by themselves."""


def open_glue(name: str, uri: str, properties: Mapping[str, str]) -> GlueServiceCatalog:
    """The catalog of a region."""
    return GlueServiceCatalog(
        name, **{"glue.max-retries": RETRIES, **properties, "glue.region": uri.partition("://")[2]}
    )

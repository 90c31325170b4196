"""A catalog that others run behind Iceberg's REST protocol: Polaris, Lakekeeper, Nessie, Unity, Glue and their like.

The service decides where a table is, writes its metadata files, and may hand out the keys to its files (vended
credentials), new ones whenever the table is loaded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitStateUnknownException,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TableAlreadyExistsError,
    TooManyRequestsError,
)
from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import Identifier

from k2ctl.endpoints import without_password
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.pyiceberg_overrides.rest import REST_CAPABILITIES, BoundedRestCatalog

CONNECT_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 20.0
"""A third of how long a commit is tried: a service that many write through takes seconds for a swap."""

PASSING: Final = (
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    AuthorizationExpiredError,
    CommitStateUnknownException,
)
"""Answers after which the same request may succeed."""

ASK: Final = (
    "Ask those who run it, and correct the section `external`; then: k2ctl stack up --engine external --profile PROFILE"
)

_NEEDED: Final = {
    "load a table": REST_CAPABILITIES.V1_LOAD_TABLE,
    "commit to a table": REST_CAPABILITIES.V1_UPDATE_TABLE,
}
_OF_USE: Final = {
    "make a table (others must, before the first consumer)": REST_CAPABILITIES.V1_CREATE_TABLE,
    "make a namespace (others must)": REST_CAPABILITIES.V1_CREATE_NAMESPACE,
    "list what it has (no orphan is removed)": REST_CAPABILITIES.V1_LIST_TABLES,
    "list its namespaces (no orphan is removed)": REST_CAPABILITIES.V1_LIST_NAMESPACES,
    "register a table (k2ctl lake register)": REST_CAPABILITIES.V1_REGISTER_TABLE,
    "drop a table (what was only tried stays)": REST_CAPABILITIES.V1_DELETE_TABLE,
}


class RestServiceCatalog(BoundedRestCatalog):
    """The same as `database.DatabaseCatalog` for a REST service."""

    reads_back: Final = True
    """A service may say that it has stored a commit, and have dropped it: Polaris did (apache/polaris#1092)."""

    side_suffix: Final = "/_k2"
    """The folder for other files is inside the table's location, which is what vended credentials open. Tools that
    delete unreachable files pass over names that begin with an underscore."""

    within_s = (CONNECT_WITHIN_S, ANSWER_WITHIN_S)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As pyiceberg's; a refusal that would repeat is a `LakeError`."""
        with refusals(self.uri):
            done: CommitTableResponse = super().commit_table(table, requirements, updates)
            return done

    def rows(self) -> dict[tuple[str, str], str]:
        """(this catalog's name, table's name) → its metadata file, of every table that the service lists.

        Raises:
            LakeError: it does not list all that it has.
        """
        found = {}
        for name in self._names():
            answer = self.in_short(name)
            found[self.name, name] = str(answer.get("metadata-location") or "")
        return {name: location for name, location in found.items() if location}

    def _names(self) -> Iterator[str]:
        pending, passed = [*self.list_namespaces()], set[Identifier]()
        while pending:
            namespace = pending.pop()
            if namespace in passed:
                continue  # a service without nested namespaces may answer with all that it has
            passed.add(namespace)
            pending += self.list_namespaces(namespace)
            yield from (".".join(name) for name in self.list_tables(namespace))

    def known_uuids(self) -> set[str]:
        """The tables that the service knows."""
        return {str(self.in_short(name)["metadata"]["table-uuid"]) for name in self._names()}

    def location_of(self, name: str) -> str | None:
        """The metadata file of a table, or None where the service does not tell."""
        location = self.in_short(name).get("metadata-location")
        return None if location is None else str(location)

    def read_table(self, name: str, _: str, __: FileIO) -> Table:
        """A table of `rows`, which may need keys of its own."""
        found: Table = self.load_table(name)
        return found

    def point_to(self, name: str, before: str, location: str) -> bool:
        """Give a table another metadata file; False where it has not `before` any more.

        Raises:
            LakeError: the service does not do this. Most do not.
        """
        if self.location_of(name) != before:
            return False
        with refusals(self.uri):
            try:
                self.register_table(name, location, overwrite=True)
            except TableAlreadyExistsError as error:
                raise LakeError(
                    f"The catalog {without_password(self.uri)} gives a table that it knows no other metadata file.",
                    f"Drop {name} there without its files (no purge), then: k2ctl lake register --metadata {location}",
                ) from error
        return True

    @property
    def lists_namespaces(self) -> bool:
        """Whether the service tells its namespaces."""
        return self.can(REST_CAPABILITIES.V1_LIST_NAMESPACES)

    def lacks(self) -> list[str]:
        """What the service does not offer, in words.

        Raises:
            LakeError: k2ctl cannot do without.
        """
        for what, capability in _NEEDED.items():
            if not self.can(capability):
                raise LakeError(f"The catalog {without_password(self.uri)} does not offer to {what}.", ASK)
        return [what for what, capability in _OF_USE.items() if not self.can(capability)]


def open_service(name: str, uri: str, properties: Mapping[str, str], access: Mapping[str, str]) -> RestServiceCatalog:
    """Ask a service for its configuration, with the token or the credential of `access`.

    Raises:
        RESTError, OAuthError, RequestException: it refuses, or does not answer.
    """
    settings: dict[str, Any] = {**properties, **access}
    if "token" in access or "credential" in access:
        settings.setdefault("oauth2-server-uri", f"{uri.rstrip('/')}/v1/oauth/tokens")
    else:
        settings["auth"] = {"type": "noop"}
    return RestServiceCatalog(name, **settings)


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """A block in which a request that would be refused again is a `LakeError`."""
    try:
        yield
    except RESTError as error:
        if isinstance(error, PASSING):
            raise
        raise refusal(uri, error) from error
    except NotImplementedError as error:
        raise refusal(uri, error) from error


def refusal(uri: str, error: Exception) -> LakeError:
    """The error of a service that answers, and does not do what it is asked."""
    return LakeError(f"The catalog {without_password(uri)} refuses: {first_line(error)}", ASK)

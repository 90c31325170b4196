"""The schema registry of a topic's records, in Confluent's API, which the registries of others speak as well.

A schema has a number for ever, so each is asked for once. A registry that answers and knows no such schema is one
thing; one that does not answer, or not as a registry does, is another: what it was asked for may well exist.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k2ctl.endpoints import without_password
from k2ctl.errors import BrokerUnanswered, first_line

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

LOG: Final = logging.getLogger("k2ctl.kafka")

ANSWER_TIMEOUT_S: Final = 3.0
UNKNOWN_FOR_S: Final = 30.0
"""How long a schema that is not there is not asked for again: damaged records name any number."""

_NOT_FOUND: Final = 404
_UNKNOWN: Final = frozenset((40401, 40402, 40403))
"""Codes of a registry that knows no such subject, version or schema."""

_SERIALIZED: Final = "serialized"
"""How schemas of Protobuf are asked for: as descriptors. A registry that does not know the word gives their text."""


class RegistryUnanswered(BrokerUnanswered):
    """The registry does not answer now, or not as a registry does; the same may work when it is asked again."""


@dataclass(frozen=True)
class Registered:
    """A schema as the registry has it."""

    # AVRO, PROTOBUF or JSON.
    kind: str
    text: str
    # Schemas that it refers to, by the name it has for each; each stands behind those that it refers to itself.
    references: tuple[tuple[str, str], ...] = ()


class SchemaRegistry:
    """A client of one registry; any thread may ask."""

    def __init__(self, address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """address: http or https; it may have a user and a password.

        Raises:
            ValueError: it is no such address.
        """
        self._config = {"url": address, "timeout": timeout_s, "max.retries": 0}
        with self._client():
            pass
        self.shown = without_password(address)
        self._lock = threading.Lock()
        self._known: dict[int, Registered] = {}
        # When each number that was not there may be asked for again, by the monotonic clock.
        self._missing: dict[int, float] = {}

    def schema(self, number: int) -> Registered | None:
        """The schema of a number; None if the registry has none.

        Raises:
            RegistryUnanswered: it does not answer.
        """
        with self._lock:
            if number in self._known:
                return self._known[number]
            if time.monotonic() < self._missing.get(number, 0.0):
                return None
            schema = self._asked("get_schema", number, fmt=_SERIALIZED)
            if schema is None:
                LOG.warning("the schema registry %s knows no schema %d", self.shown, number)
                self._missing[number] = time.monotonic() + UNKNOWN_FOR_S
                return None
            self._known[number] = self._whole(schema)
            LOG.info("schema %d of %s: %s", number, self.shown, self._known[number].kind)
            return self._known[number]

    def newest(self, subject: str) -> Registered | None:
        """The newest schema of a subject, as it is now; None if there is no such subject.

        Raises:
            RegistryUnanswered: it does not answer.
        """
        with self._lock:
            version = self._asked("get_version", subject, "latest", fmt=_SERIALIZED)
            return None if version is None else self._whole(version.schema)

    def subjects(self, number: int) -> list[str]:
        """The subjects that a schema is registered under.

        Raises:
            RegistryUnanswered: it does not answer.
        """
        with self._lock:
            versions = self._asked("get_schema_versions", number) or []
            return list(dict.fromkeys(str(version.subject) for version in versions))

    def _whole(self, schema: "Schema") -> Registered:
        """A schema with those that it refers to, however far."""
        found = dict[str, str]()
        self._collect(schema, found)
        return Registered(str(schema.schema_type or "AVRO"), str(schema.schema_str), tuple(found.items()))

    def _collect(self, schema: "Schema", found: dict[str, str]) -> None:
        for reference in schema.references or []:
            name = str(reference.name)
            if name in found:
                continue
            version = self._asked("get_version", reference.subject, reference.version, fmt=_SERIALIZED)
            if version is None:
                continue  # the schema then names what is not there, and says so itself
            self._collect(version.schema, found)
            found[name] = str(version.schema.schema_str)

    def _client(self) -> Any:
        """A client for one question: there are few, and so no connection is left open."""
        # What it brings takes a third of a second to import, and only topics with a registry need it.
        from confluent_kafka.schema_registry import SchemaRegistryClient

        return SchemaRegistryClient(self._config)

    def _asked(self, call: str, *arguments: Any, **named: Any) -> Any:
        """What a client gets; None for what the registry does not have.

        Raises:
            RegistryUnanswered: it does not answer.
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            with self._client() as client:
                return getattr(client, call)(*arguments, **named)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND and error.error_code in _UNKNOWN:
                return None
            raise self._unanswered(f"answers {error.http_status_code}: {str(error.error_message)[:200]}") from error
        except Exception as error:  # whatever its HTTP client and what is read of an answer may raise
            raise self._unanswered(f"does not answer: {first_line(error)}") from error

    def _unanswered(self, how: str) -> RegistryUnanswered:
        return RegistryUnanswered(
            f"The schema registry {self.shown} {how}", "See its log, and source.registry of the feed"
        )

"""The section `external` of a profile: the services that others run. It names secrets and never has one in it.

`${env:NAME}` stands for a variable of the environment, `${file:PATH}` for the content of a file without its last line
end; a relative path begins at the profile's folder. In addresses the value is percent-encoded. References are looked up
where a profile is read for the engine (`k2ctl.profiles.load_external`), and stay as they are everywhere else.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from k2ctl.endpoints import is_secret
from k2ctl.errors import UsageError
from k2ctl.profiles.section import Section

EXAMPLE: Final = """\
base: laptop                      # what is not said here is as in that shipped profile
name: prod
external:
  kafka:
    bootstrap_servers: kafka-1:9093,kafka-2:9093
    properties:                   # of librdkafka's clients; leave it out for PLAINTEXT
      security.protocol: SASL_SSL
      sasl.mechanism: SCRAM-SHA-512
      sasl.username: k2
      sasl.password: ${file:/run/secrets/kafka_password}
  state: redis://:${env:REDIS_PASSWORD}@redis:6379/0      # or memory
  catalog: postgresql+psycopg://k2:${env:CATALOG_PASSWORD}@db:5432/k2
  warehouse: s3://lakehouse/k2
  storage:                        # leave the keys out where the machine has a role
    s3.region: ap-southeast-2
    s3.access-key-id: ${env:AWS_ACCESS_KEY_ID}
    s3.secret-access-key: ${env:AWS_SECRET_ACCESS_KEY}
"""
"""A whole section: in `stack/README.md`, and in the error when a profile without one is used."""

STORAGE: Final = frozenset(
    f"s3.{name}"
    for name in (
        *("endpoint", "region", "resolve-region", "access-key-id", "secret-access-key", "session-token"),
        *("role-arn", "role-session-name", "connect-timeout", "request-timeout", "proxy-uri", "anonymous"),
        "force-virtual-addressing",
    )
)
"""What the warehouse's file IO reads; it would ignore any other name silently."""

ACCESS: Final = frozenset(("token", "credential", "oauth2-server-uri", "scope", "audience", "resource"))
"""What pyiceberg's client reads of how to be let in by a REST catalog."""

_REFERENCE: Final = re.compile(r"\$\{(env|file):([^{}]+)\}")
_STANDS_FOR_ONE: Final = "\0"
_CLIENT: Final = re.compile(r"^[^:${}\s]+:(?=\$)")
_HOW: Final = "write ${env:NAME} or ${file:PATH}"
_OF_CONNECTIONS: Final = re.compile(
    r"security\.protocol|(ssl|sasl|https)\..+|enable\.ssl\.certificate\.verification|client\.(rack|dns\.lookup)"
    r"|broker\.address\.family"
)
_STATE: Final = re.compile(r"memory|(redis|rediss)://[^/]+(/\d+)?(\?.*)?")
_CATALOG: Final = re.compile(
    r"postgresql\+psycopg://[^/]+/[^/]+|sqlite:////.+|https?://[^/?#\s@]+(/[^?#\s]*)?|glue://[a-z0-9-]+"
)
_WAREHOUSE: Final = re.compile(r"s3://[^/]+(/.+)?|file:///.+")


@dataclass(frozen=True)
class SecretReferences:
    """Where references are looked up."""

    # The profile's.
    folder: Path

    def value(self, kind: str, name: str) -> str:
        """What a reference stands for.

        Raises:
            ValueError: nothing.
        """
        if kind == "env":
            value = os.environ.get(name, "")
            if not value:
                raise ValueError(f"the environment has no {name}")
            return value
        path = self.folder / name
        try:
            path = self.folder / Path(name).expanduser()
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
        if not value:
            raise ValueError(f"{path} is empty")
        return value


def _filled(text: str, info: ValidationInfo, encode: Callable[[str], str] = str) -> str:
    """The text with what its references stand for, where they are to be looked up."""
    if "${" in _REFERENCE.sub("", text):
        raise ValueError(f"this is no reference; {_HOW}")
    references = info.context
    if not isinstance(references, SecretReferences):
        return text
    return _REFERENCE.sub(lambda found: encode(references.value(found[1], found[2])), text)


def relative_files(section: Any) -> list[str]:
    """The paths of references to files that begin at the profile's folder, in whatever part of a section."""
    if isinstance(section, Mapping):
        return [path for value in section.values() for path in relative_files(value)]
    found = _REFERENCE.findall(section) if isinstance(section, str) else []
    return [name for kind, name in found if kind == "file" and not Path(name).is_absolute()]


def with_secrets(address: str, folder: Path) -> str:
    """An address with what its references stand for.

    Raises:
        ValueError: one of them stands for nothing.
    """
    return _REFERENCE.sub(lambda found: quote(SecretReferences(folder).value(found[1], found[2]), safe=""), address)


def state_address(text: str) -> str:
    """The address of a state store as `--state` names it, with what its references stand for.

    Raises:
        UsageError: one of them stands for nothing.
    """
    try:
        return with_secrets(text, Path.cwd())
    except ValueError as error:
        raise UsageError(f"--state: {error}.", f"In the place of the password {_HOW}.") from error


def without_written_password(text: str) -> str:
    """The address for the command line of a process that stays, which every user of the machine can read.

    Raises:
        UsageError: there is a password in it.
    """
    bare = _REFERENCE.sub(_STANDS_FOR_ONE, text)
    if any(secret.strip(_STANDS_FOR_ONE) for secret in _secrets_in(bare)):
        raise UsageError(
            "Every user of this machine could read the password of --state in the list of processes.",
            "Name it instead: --state 'redis://:${file:/PATH}@HOST:PORT/0'",
        )
    return text


def _secrets_in(address: str) -> list[str]:
    written = re.search(r"://[^/?#]*?:([^/?#]*)@", address)
    given = [value for name, value in re.findall(r"[?&]([^=&#]+)=([^&#]*)", address) if is_secret(name)]
    return [*([written[1]] if written else []), *given]


def _as_text(value: Any) -> Any:
    """YAML's numbers and booleans as the clients want them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _address(pattern: re.Pattern[str], form: str) -> Any:
    """An address of a form, without a password that is written out."""

    def check(text: str, info: ValidationInfo) -> str:
        bare = _REFERENCE.sub(_STANDS_FOR_ONE, text)
        if not pattern.fullmatch(bare):
            raise ValueError(f"write {form}")
        if any(secret.strip(_STANDS_FOR_ONE) for secret in _secrets_in(bare)):
            raise ValueError(f"a password stands in no profile; {_HOW} in its place")
        return _filled(text, info, lambda value: quote(value, safe=""))

    return AfterValidator(check)


def _known_property(name: str) -> str:
    if not _OF_CONNECTIONS.fullmatch(name):
        raise ValueError(
            "k2ctl decides on this itself; what can be set is security.protocol, sasl.*, ssl.*, https.*, "
            "enable.ssl.certificate.verification, client.rack, client.dns.lookup and broker.address.family"
        )
    return name


def _known_storage(name: str) -> str:
    if name not in STORAGE:
        raise ValueError(f"there is no such property; there are {', '.join(sorted(STORAGE))}")
    return name


def _known_access(name: str) -> str:
    if name not in ACCESS:
        raise ValueError(f"there is no such property; there are {', '.join(sorted(ACCESS))}")
    return name


def _is_service(catalog: str) -> bool:
    return catalog.startswith(("https://", "http://"))


def _warehouse(text: str, info: ValidationInfo) -> str:
    """A location, or to a REST catalog the name that it knows."""
    if _is_service(str(info.data.get("catalog", ""))):
        if not text or re.search(r"\s", text):
            raise ValueError("write the name by which the catalog knows the warehouse")
        return _filled(text, info)
    if not _WAREHOUSE.fullmatch(text):
        raise ValueError("write s3://BUCKET/PATH or file:///FOLDER")
    return _filled(text, info, lambda value: quote(value, safe=""))


def _secrets_by_reference(settings: Any) -> Any:
    """A secret is never written out in a setting."""
    if not isinstance(settings, dict):
        return settings
    written = [
        name
        for name, value in settings.items()
        if is_secret(str(name)) and not _is_reference(_without_client(name, value))
    ]
    if written:
        mistake = PydanticCustomError("secret", "a secret stands in no profile; {how}", {"how": _HOW})
        raise ValidationError.from_exception_data(
            "secret", [InitErrorDetails(type=mistake, loc=(name,), input=None) for name in written]
        )
    return settings


def _without_client(name: str, value: Any) -> Any:
    """The secret of an OAuth2 credential, CLIENT:SECRET, whose client is none; other settings as they are."""
    return _CLIENT.sub("", value) if name == "credential" and isinstance(value, str) else value


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def _servers(text: str) -> str:
    if not re.fullmatch(r"[^,\s]+:\d+(,[^,\s]+:\d+)*", text):
        raise ValueError("write HOST:PORT, several with commas between")
    return text


Setting = Annotated[str, BeforeValidator(_as_text), AfterValidator(_filled)]
Servers = Annotated[str, AfterValidator(_servers)]


class Kafka(Section):
    """bootstrap_servers: HOST:PORT, several with commas between. properties: of librdkafka's clients, by its names."""

    bootstrap_servers: Servers
    properties: Annotated[
        dict[Annotated[str, AfterValidator(_known_property)], Setting], BeforeValidator(_secrets_by_reference)
    ] = Field(default_factory=dict, repr=False)


class External(Section):
    """Where Kafka, state, catalog and warehouse are.

    catalog_access: what a REST catalog asks for, by Iceberg's names. warehouse: to a REST catalog, its name there.
    storage: what Iceberg's file IO needs to reach the files, where the catalog does not hand it out.
    """

    kafka: Kafka
    state: Annotated[str, _address(_STATE, "redis://HOST:PORT/0, rediss:// for TLS, or memory"), Field(repr=False)]
    catalog: Annotated[
        str,
        _address(
            _CATALOG,
            "postgresql+psycopg://USER@HOST:PORT/DATABASE, https://HOST/PATH of an Iceberg REST catalog, "
            "glue://REGION of AWS, or sqlite:////FOLDER/FILE",
        ),
        Field(repr=False),
    ]
    catalog_access: Annotated[
        dict[Annotated[str, AfterValidator(_known_access)], Setting], BeforeValidator(_secrets_by_reference)
    ] = Field(default_factory=dict, repr=False)
    warehouse: Annotated[str, AfterValidator(_warehouse)]
    storage: Annotated[
        dict[Annotated[str, AfterValidator(_known_storage)], Setting], BeforeValidator(_secrets_by_reference)
    ] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _storage_is_of_a_store(self) -> "External":
        if self.storage and not self.warehouse.startswith("s3://") and not _is_service(self.catalog):
            raise ValueError("storage is for a warehouse at s3://, and means nothing to local files")
        return self

    @model_validator(mode="after")
    def _access_is_to_a_service(self) -> "External":
        if self.catalog_access and not _is_service(self.catalog):
            raise ValueError("catalog_access is for a REST catalog at https://; a database has its user in the address")
        if "token" in self.catalog_access and "credential" in self.catalog_access:
            raise ValueError("catalog_access has a token or a credential, not both")
        return self

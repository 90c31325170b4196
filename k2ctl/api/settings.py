"""What the service may do: where it listens, who may ask, and how much one request may take."""

import hmac
import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from k2ctl.errors import UsageError

KEY_VARIABLE: Final = "K2CTL_API_KEY"
PER_ADDRESS: Final = 50
MOST_ROWS: Final = 50_000
_SHORTEST_KEY: Final = 16
_NETWORK_OF_ONE: Final = 64
"""Leading bits of an IPv6 address that one client has; the rest it chooses."""


def address_of(client: tuple[str, int] | None) -> str:
    """Whose a connection is, as limits count: the IPv4 address, or the network of an IPv6 one."""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0] if client else "")
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NETWORK_OF_ONE), strict=False))


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, and of all at once."""

    # Of one page, and of one answer in SQL.
    default_rows: int = 1_000
    rows: int = MOST_ROWS
    answer_bytes: int = 32 << 20
    # Between since and until.
    window_s: float = 31 * 86_400.0
    # Until an answer is complete, slow readers included.
    seconds: float = 10.0
    # Of a request; none needs a body.
    body_bytes: int = 4_096
    url_bytes: int = 16_384
    header_bytes: int = 32_768
    # Until a request is complete, from the start of its connection or the answer before.
    request_s: float = 5.0
    # Connections without a request, half of them of one address.
    waiting: int = 1_000
    # Requests at once; health is not counted.
    requests: int = 200
    # Requests of one address at once.
    per_address: int = PER_ADDRESS
    # At once; and how long a request waits for its turn.
    queries: int = 4
    # Of one query in SQL, which runs in a process of its own; half of the queries at once may be in SQL.
    sql_memory_mb: int = 512
    waiting_s: float = 5.0
    # Clients of the live page at once; and how long one stream lasts.
    streams: int = 20
    stream_s: float = 600.0


@dataclass(frozen=True, repr=False)
class Keys:
    """The keys that open the service; none for everybody. Never shown, never logged."""

    _keys: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def allow(self, given: bytes) -> bool:
        """Whether a key is one of ours; takes the same time for each wrong one."""
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(key, given)
        return found or not self._keys

    @staticmethod
    def load(file: Path | None, environment: Mapping[str, str] = os.environ) -> "Keys":
        """From a file with one key a line that only its owner can read, or from the environment.

        Raises:
            UsageError: others can read the file, or a key is shorter than 16 characters.
        """
        text = environment.get(KEY_VARIABLE, "")
        if file is not None:
            try:
                mode = file.stat().st_mode
                text = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"The key file {file} cannot be read: {error}", "--key-file FILE") from error
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"Others can read the key file {file}.", f"chmod 600 {file}")
        keys = tuple(line.strip().encode() for line in text.splitlines() if line.strip())
        if any(len(key) < _SHORTEST_KEY for key in keys):
            raise UsageError("A key has fewer than 16 characters.", "Make one with: openssl rand -hex 32")
        if file is not None and not keys:
            raise UsageError(f"There is no key in the key file {file}.", "Make one with: openssl rand -hex 32")
        return Keys(keys)


@dataclass(frozen=True)
class Settings:
    """Where the service listens, and what it allows."""

    host: str = "127.0.0.1"
    port: int = 8700
    keys: Keys = field(default_factory=Keys)
    # Further Host names under which the service is reached.
    names: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    # Of Arrow Flight SQL; None where it is not served.
    flight_port: int | None = None

    def check(self) -> None:
        """Refuse to be open to others without a key.

        Raises:
            UsageError: the address is no address, or not loopback and there is no key.
        """
        try:
            address = ipaddress.ip_address("127.0.0.1" if self.host == "localhost" else self.host)
        except ValueError:
            raise UsageError(
                f"'{self.host}' is not an IP address.", "Name the address itself: --host 127.0.0.1"
            ) from None
        if not address.is_loopback and not self.keys:
            raise UsageError(
                f"{self.host} is open to others, and there is no key.",
                f"Give one: --key-file FILE (mode 0600), or {KEY_VARIABLE} in the environment.",
            )

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this service; a page of a rebound name does not get through."""
        name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        name = name.strip("[]").lower()
        if name in {"localhost", self.host.lower(), *(known.lower() for known in self.names)}:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        own = ipaddress.ip_address("127.0.0.1" if self.host == "localhost" else self.host)
        return address.is_loopback if own.is_loopback else own.is_unspecified or address == own

"""Who may call over Flight: with one of the service's keys, and as many at once as over HTTP."""

import base64
import binascii
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import flight

from k2ctl.api.settings import Keys, Settings, address_of
from k2ctl.flight.refusals import flight_error


class Calls:
    """How many calls run, and how many may: as many as over HTTP, in all and of one address. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    @contextmanager
    def counted(self, context: Any) -> Iterator[None]:
        """One more call, while the block lasts."""
        address = _address(context)
        self._enter(address)
        try:
            yield
        finally:
            self._leave(address)

    def sent(self, context: Any, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows, which are a call for as long as the client takes them."""
        with self.counted(context):
            yield from rows

    def _enter(self, address: str) -> None:
        with self._lock:
            limits = self._limits
            if self._running[address] >= limits.per_address or self._running.total() >= limits.requests:
                raise flight_error("too-many", "As many calls run already as may run at once.", "Try again.")
            self._running[address] += 1

    def _leave(self, address: str) -> None:
        with self._lock:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]


def _address(context: Any) -> str:
    """Whose a call is: of `ipv4:127.0.0.1:40000` or `ipv6:[::1]:40000` the address."""
    host, _, _ = context.peer().partition(":")[2].rpartition(":")
    return address_of((host.replace("%5B", "[").replace("%5D", "]").strip("[]"), 0))


class NoHandshake(flight.ServerAuthHandler):  # type: ignore[misc]
    """Lets the handshake through in which drivers send name and password: a key is in the headers of every call."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        """Nothing is exchanged."""

    def is_valid(self, token: bytes) -> bytes:
        """Nobody has a name here."""
        return b""


class KeyCheck(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Every call has a key, as a bearer token or as the password of a name."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def start_call(self, info: Any, headers: Mapping[str, list[Any]]) -> "flight.ServerMiddleware":
        given = next((values[0] for name, values in headers.items() if name.lower() == "authorization"), "")
        key = _key_of(given.decode("utf-8", "replace") if isinstance(given, bytes) else given)
        if not self._keys.allow(key):
            raise flight_error("no-key", "A key is needed.", "Send it as a bearer token, or as the password of a name.")
        return _KeyAsToken(key) if info.method == flight.FlightMethod.HANDSHAKE else None


class _KeyAsToken(flight.ServerMiddleware):  # type: ignore[misc]
    """Ends a handshake with the key as its token; without keys, any text is one."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sending_headers(self) -> dict[str, str]:
        key = self._key.decode("utf-8", "replace")
        return {"authorization": f"Bearer {key if key.isascii() and key.isprintable() else ''}"}


def _key_of(header: str) -> bytes:
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode()
    if scheme.lower() == "basic":
        try:
            bare_text = given.strip().rstrip("=")  # some drivers leave the padding out
            return base64.b64decode(bare_text + "=" * (-len(bare_text) % 4), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""

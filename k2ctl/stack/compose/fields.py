"""The short forms of Compose values: durations, sizes, ports, mounts, commands."""

import re
import shlex
from pathlib import PurePosixPath
from typing import Any, Final

_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(us|ms|s|m|h)")
_DURATION_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"^([0-9]{1,15}(?:\.[0-9]{1,15})?)([bkmg])?b?$")
_SIZE_BYTES: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_PORT = re.compile(
    r"^(?:(?P<ip>[0-9.]{1,15}):)(?P<host>[0-9]{1,5}):(?P<container>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?$"
)
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")


def duration_s(value: Any) -> Any:
    """`3s`, `1m30s`, `500ms` as seconds."""
    if not isinstance(value, str):
        raise ValueError("write a duration with its unit, like 3s")
    parts = _DURATION_PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"'{value}' is not a duration; write 3s, 1m30s or 500ms")
    return sum(float(number) * _DURATION_S[unit] for number, unit in parts)


def size_bytes(value: Any) -> Any:
    """`512m`, `2g` or a number of bytes; powers of 1,024, as Docker has them."""
    match = _SIZE.match(str(value).lower())
    if not match:
        raise ValueError(f"'{value}' is not a size; write 512m or 2g")
    return int(float(match[1]) * _SIZE_BYTES[match[2] or "b"])


def words(value: Any) -> Any:
    """A command as a list; a text is split as a shell would."""
    if isinstance(value, str):
        return tuple(shlex.split(value))
    return value


def health_test(value: Any) -> Any:
    """A health test as a list that begins with CMD, CMD-SHELL or NONE; a text is for the shell."""
    test = ("CMD-SHELL", value) if isinstance(value, str) else value
    if not isinstance(test, list | tuple) or not test or test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise ValueError("a list begins with CMD, CMD-SHELL or NONE")
    return test


def port(value: Any) -> Any:
    """`127.0.0.1:9092:9092` as its parts. A port without an address would be open to the whole network."""
    match = _PORT.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"'{value}' is not ADDRESS:PORT:PORT, like 127.0.0.1:9092:9092")
    host, container = int(match["host"]), int(match["container"])
    if not (0 < host < 65536 and 0 < container < 65536):
        raise ValueError(f"'{value}' has a port outside 1 to 65535")
    return {"address": match["ip"], "host": host, "container": container, "protocol": match["protocol"] or "tcp"}


def mount(value: Any) -> Any:
    """`name:/path`, or `./file:/path:ro`, as its parts; a folder of the host may only be read."""
    parts = value.split(":") if isinstance(value, str) else []
    if not 2 <= len(parts) <= 3 or not PurePosixPath(parts[1]).is_absolute():
        raise ValueError(f"'{value}' is not NAME:/PATH or ./FILE:/PATH:ro")
    mode = parts[2] if len(parts) == 3 else "rw"
    named = _NAME.match(parts[0]) is not None
    if mode not in ("ro", "rw") or (mode == "rw" and not named):
        raise ValueError(f"'{value}' would let a container write to a folder of this machine; add :ro")
    return {"source": parts[0], "target": parts[1], "read_only": mode == "ro", "named": named}


def texts(value: Any) -> Any:
    """A mapping of texts from a mapping, or from a list of NAME=VALUE; numbers become texts."""
    if isinstance(value, list):
        value = {name: entry if equals else None for name, equals, entry in (str(one).partition("=") for one in value)}
    if not isinstance(value, dict):
        raise ValueError("write NAME: VALUE")
    for name, entry in value.items():
        if entry is None or isinstance(entry, bool | list | dict):
            raise ValueError(f"{name} needs a value; quote true and false")
    return {str(name): str(entry) for name, entry in value.items()}


def restart(value: Any) -> Any:
    """A restart policy; YAML reads a bare `no` as false."""
    return "no" if value is False else value


def networks(value: Any) -> Any:
    """A list of names; the long form with aliases is not supported."""
    if isinstance(value, dict) and not any(value.values()):
        return tuple(value)
    return value


def dependencies(value: Any) -> Any:
    """service → condition, from a list or from the long form."""
    if isinstance(value, list):
        return dict.fromkeys(map(str, value), "service_started")
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ValueError("write SERVICE: {condition: …}")
    for name, entry in value.items():
        for key in entry:
            if key != "condition":
                raise ValueError(f"{name}.{key} is not supported")
    return {name: entry.get("condition", "service_started") for name, entry in value.items()}

"""What a person sets once: engine, profile and format. A flag comes first, then the environment, then the file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from k2ctl.errors import UsageError

PATH_VARIABLE: Final = "K2CTL_CONFIG"
_LARGEST_BYTES: Final = 100_000


class OptionPlace(NamedTuple):
    """An option whose default a setting is: `parameter` is its name in the command's function."""

    group: str
    command: str
    parameter: str


@dataclass(frozen=True)
class Setting:
    """One of them."""

    name: str
    # The environment's variable.
    variable: str
    # What holds where nobody has set it.
    default: str
    # What it may be; anything where there are none.
    choices: tuple[str, ...]
    # Whose default it is.
    places: tuple[OptionPlace, ...]

    def check(self, value: str, where: str) -> None:
        """Raises:
        UsageError: it is none of the choices.
        """
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{where}: there is no {self.name} '{value[:40]}'.", f"There are: {', '.join(self.choices)}"
            )


SETTINGS: Final = {
    one.name: one
    for one in (
        Setting(
            "engine",
            "K2CTL_ENGINE",
            "embedded",
            ("embedded", "local", "docker", "external"),
            (OptionPlace("stack", "up", "engine"),),
        ),
        Setting("profile", "K2CTL_PROFILE", "laptop", (), (OptionPlace("stack", "up", "profile"),)),
        Setting(
            "format",
            "K2CTL_FORMAT",
            "table",
            ("table", "json", "csv"),
            tuple(OptionPlace("query", command, "form") for command in ("recent", "ohlcv", "sql")),
        ),
    )
}


class Value(NamedTuple):
    """A setting as it holds now."""

    name: str
    value: str
    # The variable, the file, or "default".
    source: str
    # The commands whose default it is.
    used_by: tuple[str, ...]


def path() -> Path:
    """The file: `K2CTL_CONFIG`, else `config.toml` in the user's configuration directory by the XDG rules."""
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named).absolute()
    import platformdirs

    return platformdirs.user_config_path("k2ctl") / "config.toml"


def in_file() -> dict[str, str]:
    """What the file sets.

    Raises:
        UsageError: it cannot be read, is no TOML, or sets what there is not.
    """
    at = path()
    try:
        text = at.read_bytes()[:_LARGEST_BYTES].decode()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise _wrong(at, f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    import tomllib

    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _wrong(at, f"not TOML: {error}") from error
    for name, value in found.items():
        if name not in SETTINGS:
            raise _wrong(at, f"there is no setting '{name[:40]}'; there are {', '.join(SETTINGS)}")
        if not isinstance(value, str) or not value:
            raise _wrong(at, f"{name} is a text, in quotes")
        SETTINGS[name].check(value, str(at))
    return found


def _wrong(at: Path, what: str) -> UsageError:
    return UsageError(f"{at}: {what}.", f"Correct or delete it: {at}")


def save(values: Mapping[str, str]) -> None:
    """Write the file, with a folder for it when missing.

    Raises:
        UsageError: it cannot be written.
    """
    import json

    from k2ctl.files import write_atomically

    at = path()
    # A basic string of TOML is written as one of JSON.
    text = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(at, text)
    except OSError as error:
        raise UsageError(
            f"{at} cannot be written: {error.strerror}.", f"Name another: export {PATH_VARIABLE}=FILE"
        ) from error


def values() -> list[Value]:
    """Each setting as it holds, and where that comes from.

    Raises:
        UsageError: as `in_file`.
    """
    written, found = in_file(), []
    for one in SETTINGS.values():
        said = os.environ.get(one.variable)
        source = one.variable if said else str(path()) if one.name in written else "default"
        used_by = tuple(f"{place.group} {place.command}" for place in one.places)
        found.append(Value(one.name, said or written.get(one.name, one.default), source, used_by))
    return found


def defaults_of(group: str) -> dict[str, dict[str, Any]]:
    """What the file makes of the defaults of a group's commands, by command and parameter.

    Raises:
        UsageError: as `in_file`.
    """
    places = [(one, place) for one in SETTINGS.values() for place in one.places if place.group == group]
    written = in_file() if places else {}
    defaults: dict[str, dict[str, Any]] = {}
    for one, place in places:
        if one.name in written:
            defaults.setdefault(place.command, {})[place.parameter] = written[one.name]
    return defaults

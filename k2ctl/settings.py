"""What a person sets once: engine, profile, format, service. A flag comes first, then the environment, then the file.

A fault of the file stops whoever needs what it says there, and nobody else.
"""

import os
import shlex
from collections.abc import Callable, Mapping
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
    # Who takes it without an option.
    others: tuple[str, ...] = ()

    @property
    def used_by(self) -> tuple[str, ...]:
        """Whose default it is, as a person types it."""
        return (*(f"{place.group} {place.command}" for place in self.places), *self.others)

    def check(self, value: str, where: str) -> None:
        """Raises:
        UsageError: it is none of the choices.
        """
        refusal = self.refusal(value)
        if refusal:
            raise UsageError(f"{where}: {refusal}.", f"There are: {', '.join(self.choices)}" if self.choices else "")

    def refusal(self, value: object) -> str:
        """Why it cannot have this value; empty where it can."""
        if not isinstance(value, str) or not value:
            return f"{self.name} is a text, in quotes"
        return f"there is no {self.name} '{value[:40]}'" if self.choices and value not in self.choices else ""


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
            (
                *(OptionPlace("query", command, "form") for command in ("recent", "follow", "ohlcv", "sql")),
                OptionPlace("query", "shell", "mode"),
            ),
        ),
        Setting("api_url", "K2CTL_API_URL", "", (), (), ("k2ctl.client",)),
    )
}


class Value(NamedTuple):
    """A setting as it holds now."""

    name: str
    # None where the file does not say it rightly.
    value: str | None
    # The variable, the file, or "default".
    source: str
    # Whose default it is.
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What the file says."""

    values: Mapping[str, str]
    # By name: what is wrong with the value of a setting.
    faults: Mapping[str, UsageError]
    # Names that are no settings; a setting may be meant.
    unknown: tuple[str, ...] = ()
    # What is wrong with the rest of it: any setting that has no value may be meant.
    fault: UsageError | None = None

    def fault_of(self, name: str) -> UsageError | None:
        """Why it cannot be said what the file makes of a setting."""
        return self.faults.get(name) or (None if name in self.values else self.fault)

    @property
    def first_fault(self) -> UsageError | None:
        """One of its faults, if there are any."""
        return next(iter(self.faults.values()), self.fault)


def path() -> Path:
    """The file: `K2CTL_CONFIG`, else `config.toml` in the user's configuration directory by the XDG rules."""
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named).absolute()
    import platformdirs

    return platformdirs.user_config_path("k2ctl") / "config.toml"


def in_file() -> Written:
    """What the file sets, and what is wrong with it."""
    at = path()
    again = "Set it again, which keeps this file beside the new one: k2ctl config set engine embedded"
    try:
        text = at.read_bytes()[:_LARGEST_BYTES].decode()
    except (FileNotFoundError, NotADirectoryError):
        return Written({}, {})
    except (OSError, ValueError) as error:
        why = f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        return Written({}, {}, (), _wrong(at, why, again))
    import tomllib

    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Written({}, {}, (), _wrong(at, f"not TOML: {error}", again))
    known = {name: value for name, value in found.items() if name in SETTINGS}
    unknown = tuple(name for name in found if name not in known)
    faults = {
        name: _wrong(at, refusal, f"Take it out: k2ctl config unset {name}")
        for name, value in known.items()
        if (refusal := SETTINGS[name].refusal(value))
    }
    fault = _unknown(at, unknown[0]) if unknown else None
    return Written({name: value for name, value in known.items() if name not in faults}, faults, unknown, fault)


def _unknown(at: Path, name: str) -> UsageError:
    what = f"there is no setting '{name[:40]}'; there are {', '.join(SETTINGS)}"
    return _wrong(at, what, f"Take it out: k2ctl config unset {shlex.quote(name)}")


def _wrong(at: Path, what: str, hint: str) -> UsageError:
    return UsageError(f"{at}: {what}.", hint)


def save(values: Mapping[str, str]) -> Path | None:
    """Write the file, with a folder for it when missing. What it says that k2ctl did not write is kept beside it.

    Returns: where that is.

    Raises:
        UsageError: it cannot be written.
    """
    from k2ctl.files import write_atomically

    at = path()
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        kept = _moved_away(at)
        write_atomically(at, _text(values))
    except OSError as error:
        raise UsageError(
            f"{at} cannot be written: {error.strerror}.", f"Name another: export {PATH_VARIABLE}=FILE"
        ) from error
    return kept


def _moved_away(at: Path) -> Path | None:
    """Move the file away, if it says more than its settings: comments, or what is wrong."""
    written = in_file()
    if not at.exists() or (at.is_file() and at.read_bytes() == _text(written.values).encode()):
        return None
    kept = at.with_name(f"{at.name}.before")
    return at.replace(kept)


def _text(values: Mapping[str, str]) -> str:
    import json

    # A basic string of TOML is written as one of JSON.
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def values() -> list[Value]:
    """Each setting as it holds, and where that comes from."""
    written, found = in_file(), []
    for one in SETTINGS.values():
        said = os.environ.get(one.variable)
        fault = written.fault_of(one.name)
        of_file = one.name in written.values or fault
        source = one.variable if said else str(path()) if of_file else "default"
        value = said or (None if fault else written.values.get(one.name, one.default))
        found.append(Value(one.name, value, source, one.used_by))
    return found


def value_of(name: str) -> str:
    """A setting as it holds, for what has no option of its own.

    Raises:
        UsageError: the file does not say it rightly.
    """
    written = in_file()
    fault = written.fault_of(name)
    said = os.environ.get(SETTINGS[name].variable)
    if fault and not said:
        raise fault
    return said or written.values.get(name, SETTINGS[name].default)


def defaults_of(group: str, is_needed: Callable[[], bool]) -> dict[str, dict[str, Any]]:
    """What the file makes of the defaults of a group's commands, by command and parameter.

    One that the file does not say rightly is a function that raises if the default `is_needed`, which is asked then.
    """
    places = [(one, place) for one in SETTINGS.values() for place in one.places if place.group == group]
    written = in_file() if places else Written({}, {})
    defaults: dict[str, dict[str, Any]] = {}
    for one, place in places:
        fault, value = written.fault_of(one.name), written.values.get(one.name)
        if fault or value:
            defaults.setdefault(place.command, {})[place.parameter] = _raising(fault, is_needed) if fault else value
    return defaults


def _raising(fault: UsageError, is_needed: Callable[[], bool]) -> Callable[[], None]:
    def default() -> None:
        if is_needed():
            raise fault

    return default

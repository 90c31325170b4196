"""YAML to models, with mistakes named by file, line and dotted key."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from k2ctl.endpoints import Endpoints
from k2ctl.errors import ProfileError
from k2ctl.home import shipped
from k2ctl.mistakes import said
from k2ctl.profiles import strict_yaml
from k2ctl.profiles.external import EXAMPLE, External, SecretReferences
from k2ctl.profiles.model import Profile
from k2ctl.profiles.strict_yaml import Lines, brief

Model = TypeVar("Model", bound=BaseModel)


def profile_names() -> list[str]:
    """The profiles that k2ctl ships."""
    return sorted(path.stem for path in shipped("profiles").glob("*.yaml"))


def load_profile(name_or_path: str) -> Profile:
    """A shipped profile by name, or any file by path.

    Raises:
        ProfileError: no such profile, or a mistake in it.
    """
    path = profile_path(name_or_path)
    profile = load_model(path, Profile)
    if profile.topic.feed is None and profile.topic.name is None:
        return profile
    from k2ctl.profiles.foreign import of_others  # which stands upon this module

    feed = profile.topic.feed or ""
    beside = path.parent / feed
    return of_others(profile, str(beside) if feed and beside.is_file() else feed, profile.topic.name or "")


def chosen(endpoints: Endpoints, name_or_path: str) -> tuple[Endpoints, Profile]:
    """A profile that was chosen, or the stack's, and the endpoints with the table that it names.

    Raises:
        ProfileError: as `load_profile`.
    """
    profile = load_profile(name_or_path or endpoints.profile)
    if not name_or_path:
        return endpoints, profile
    return replace(endpoints, profile=name_or_path, table=profile.lake.table), profile


def lasting_name(name_or_path: str) -> str:
    """A profile's name, or its path as other commands find it from any folder.

    Raises:
        ProfileError: there is no such profile.
    """
    return name_or_path if name_or_path in profile_names() else str(profile_path(name_or_path).absolute())


def load_external(name_or_path: str) -> External:
    """The section `external` of a profile, with the secrets that it refers to.

    Raises:
        ProfileError: there is no such section, a mistake in it, or a reference to nothing.
    """
    path = profile_path(name_or_path)
    found = load_model(path, Profile, SecretReferences(path.parent)).external
    if found is None:
        raise ProfileError(
            f"{path}: there is no section `external`, which says where the services are that others run. A whole "
            f"profile with one:\n\n{EXAMPLE}",
            "Write it to a file: k2ctl stack up --engine external --profile ./prod.yaml",
        )
    return found


def save_profile(profile: Profile, folder: Path) -> Path:
    """Write a profile that was changed by a program, so that other processes can load it."""
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(profile.model_dump(mode="json")), encoding="utf-8")
    return path


def profile_path(name_or_path: str) -> Path:
    """The file behind `--profile`."""
    by_name = shipped("profiles") / f"{name_or_path}.yaml"
    if name_or_path in profile_names():
        return by_name
    path = file_at(name_or_path)
    if path is not None:
        return path
    raise ProfileError(
        f"There is no profile '{name_or_path}', neither shipped nor as a file.",
        f"Shipped profiles: {', '.join(profile_names())}. A path works too: --profile ./my.yaml",
    )


def file_at(path_text: str) -> Path | None:
    """The file of a path as somebody typed it; None without one."""
    with suppress(OSError, RuntimeError):  # a name too long, a folder that is closed, a home that does not exist
        path = Path(path_text).expanduser()
        if path.is_file():
            return path
    return None


def load_model(path: Path, model: type[Model], context: object = None) -> Model:
    """Read `path` as YAML into `model`; context: for the model's validators.

    Raises:
        ProfileError: with `file:line: dotted.key: what was expected` for the first mistake.
    """
    return model_of(path, strict_yaml.read_text(path), model, context)[0]


def model_of(path: Path | str, text: str, model: type[Model], context: object = None) -> tuple[Model, Lines]:
    """YAML as `model`, and the line of every key in it; path: as errors name it.

    Raises:
        ProfileError: as `load_model`.
    """
    content, lines = strict_yaml.load(path, text)
    if model is Profile and isinstance(content, dict) and "base" in content:
        content = _upon_its_base(path, content, lines)
    try:
        return model.model_validate(content, context=context), lines
    except ValidationError as error:
        raise _mistake(path, lines, error, model.__name__.lower()) from error


def _mistake(path: Path | str, lines: Lines, error: ValidationError, whole: str) -> ProfileError:
    """The first of a model's mistakes. whole: what a mistake is called that is of no key."""
    by_place: dict[tuple[Any, ...], list[Any]] = {}
    # An unknown key explains more than what is missing because of it.
    for mistake in sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden"):
        by_place.setdefault(_place(mistake["loc"], lines), []).append(mistake)
    first = next(iter(by_place))
    # Where a value may be of several kinds, the kind that it is has its mistake further in.
    place = max((one for one in by_place if one[: len(first)] == first), key=len)
    mistakes = by_place[place]
    message = "; or: ".join(dict.fromkeys(said(mistake) for mistake in mistakes))
    value, kinds = mistakes[0]["input"], {mistake["type"] for mistake in mistakes}
    hidden = kinds & {"missing", "extra_forbidden"} or place[:1] == ("external",) or isinstance(value, dict)
    got = "" if hidden else f" (got {brief(value)})"  # what is wrong in `external` may be a secret
    others = sum(one != place[: len(one)] for one in by_place)
    more = f" and {others} more" if others else ""
    what = f"{path}:{_nearest_line(lines, place)}: {'.'.join(map(str, place)) or whole}: {message}{got}{more}"
    return ProfileError(what, "Correct that line.")


def _place(loc: tuple[Any, ...], lines: Lines) -> tuple[Any, ...]:
    """The keys of a mistake, without what pydantic calls the kinds that a value may be of."""
    place: tuple[Any, ...] = ()
    for part in loc:
        is_key = isinstance(part, int) or (part.isidentifier() and part not in _KINDS)
        if is_key or (*place, part) in lines:
            place = (*place, part)
    return place


_KINDS: Final = {"bool", "str", "int", "float"}


def _upon_its_base(path: Path | str, content: dict[str, Any], lines: Lines) -> Any:
    """What a profile says, upon the shipped one that it names as its base."""
    own = {key: value for key, value in content.items() if key != "base"}
    if content["base"] not in profile_names():
        raise ProfileError(
            f"{path}:{lines[('base',)]}: base: not a shipped profile (got {brief(content['base'])})",
            f"Shipped profiles: {', '.join(profile_names())}",
        )
    base = profile_path(content["base"])
    return _merged(strict_yaml.load(base, strict_yaml.read_text(base))[0], own)


def _merged(base: Any, own: Any) -> Any:
    """Sections key by key; anything else as a whole."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    return {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}


def place_of(name_or_path: str, key: str) -> str:
    """`file:line` of a dotted key of a profile, or of the section that lacks it; of its base, where that has it."""
    path, at = profile_path(name_or_path), tuple(key.split("."))
    content, lines = strict_yaml.load(path, strict_yaml.read_text(path))
    if at not in lines and isinstance(content, dict) and "base" in content:
        return place_of(content["base"], key)
    return f"{path}:{_nearest_line(lines, at)}"


def _nearest_line(lines: Lines, at: tuple[Any, ...]) -> int:
    """The line of a key, or of the section that it is missing from."""
    while at not in lines:
        at = at[:-1]
    return lines[at]

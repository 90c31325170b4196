"""YAML to models, with mistakes told by file, line and dotted key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from k2ctl.errors import ProfileError
from k2ctl.home import shipped
from k2ctl.profiles.external import EXAMPLE, External, References
from k2ctl.profiles.model import Profile

MAX_BYTES = 262_144
"""A larger file is not a profile."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: ten times as fast, and `k2ctl cost` reads four files."""

Model = TypeVar("Model", bound=BaseModel)


def profile_names() -> list[str]:
    """The profiles that k2ctl ships."""
    return sorted(path.stem for path in shipped("profiles").glob("*.yaml"))


def load_profile(name_or_path: str) -> Profile:
    """A shipped profile by name, or any file by path.

    Raises:
        ProfileError: no such profile, or a mistake in it.
    """
    return load_model(profile_path(name_or_path), Profile)


def load_external(name_or_path: str) -> External:
    """The section `external` of a profile, with the secrets that it refers to.

    Raises:
        ProfileError: there is no such section, a mistake in it, or a reference to nothing.
    """
    path = profile_path(name_or_path)
    found = load_model(path, Profile, References(path.parent)).external
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
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    raise ProfileError(
        f"There is no profile '{name_or_path}', neither shipped nor as a file.",
        f"Shipped profiles: {', '.join(profile_names())}. A path works too: --profile ./my.yaml",
    )


def load_model(path: Path, model: type[Model], context: object = None) -> Model:
    """Read `path` as YAML into `model`; context: for the model's validators.

    Raises:
        ProfileError: with `file:line: dotted.key: what was expected` for the first mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}", "Name a readable YAML file.") from error
    if len(text) > MAX_BYTES:
        raise ProfileError(f"{path}: larger than {MAX_BYTES} bytes", "Profiles are small; is this the right file?")
    content, lines = _parse(path, text)
    if model is Profile and isinstance(content, dict) and "base" in content:
        content = _upon_its_base(path, content, lines)
    try:
        return model.model_validate(content, context=context)
    except ValidationError as error:
        # An unknown key tells more than what is missing because of it.
        first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        line = _nearest_line(lines, tuple(first["loc"]))
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        untold = first["type"] in {"missing", "extra_forbidden"} or first["loc"][:1] == ("external",)
        got = "" if untold else f" (got {_brief(first['input'])})"  # what is wrong in `external` may be a secret
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise ProfileError(f"{path}:{line}: {key or 'profile'}: {message}{got}{more}", "Correct that line.") from error


def _upon_its_base(path: Path, content: dict[str, Any], lines: dict[tuple[Any, ...], int]) -> Any:
    """What a profile says, upon the shipped one that it names as its base."""
    own = {key: value for key, value in content.items() if key != "base"}
    if content["base"] not in profile_names():
        raise ProfileError(
            f"{path}:{lines[('base',)]}: base: not a shipped profile (got {_brief(content['base'])})",
            f"Shipped profiles: {', '.join(profile_names())}",
        )
    base = profile_path(content["base"])
    return _merged(_parse(base, base.read_text(encoding="utf-8"))[0], own)


def _merged(base: Any, own: Any) -> Any:
    """Sections key by key; anything else as a whole."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    return {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}


def _parse(path: Path, text: str) -> tuple[Any, dict[tuple[Any, ...], int]]:
    """The content, and the line of every key in it. Aliases are refused: they can blow a small file up."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=_Loader)):
            raise ProfileError(f"{path}: YAML aliases are not used in profiles", "Write the value out.")
        node = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, either way
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(f"{path}:{line}: {error.problem or 'not YAML'}", "Correct that line.") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not YAML: {error}", "Name a YAML file.") from error
    lines: dict[tuple[Any, ...], int] = {(): 1}
    _collect_lines(node, (), lines)
    return content, lines


def _collect_lines(node: yaml.Node | None, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*at, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*at, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*at, number)] = value.start_mark.line + 1
            _collect_lines(value, (*at, number), lines)


def _nearest_line(lines: dict[tuple[Any, ...], int], at: tuple[Any, ...]) -> int:
    """The line of a key, or of the section that it is missing from."""
    while at not in lines:
        at = at[:-1]
    return lines[at]


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

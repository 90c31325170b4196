"""From a Compose file to a `Project`: safe YAML, variables, every key checked, names that must exist, no circles."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from k2ctl.errors import UsageError
from k2ctl.mistakes import said
from k2ctl.profiles import strict_yaml
from k2ctl.profiles.strict_yaml import brief
from k2ctl.stack.compose.model import Project, Service

NODE_LIMIT: Final = 20_000
"""Aliases can make a kilobyte of YAML mean a gigabyte; a real stack has some hundreds of nodes."""


_PATTERN = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<rule>:?[-?])(?P<word>[^{}]*))?\}|(?P<bad>))"
)


def read_project(path: Path, variables: Mapping[str, str]) -> Project:
    """Read a Compose file.

    Raises:
        UsageError: names the file, and the service and key that are wrong.
    """
    tree = _tree(path)
    kept = {key: value for key, value in tree.items() if not str(key).startswith("x-")}
    resolved = interpolate(kept, variables, path.name)
    try:
        project = Project.model_validate(_absolute(resolved, path.parent.resolve()))
    except ValidationError as error:
        raise _wrong(path, error) from error
    _check_names(path, project)
    return project


def _tree(path: Path) -> dict[str, Any]:
    tree, _ = strict_yaml.load(path, strict_yaml.read_text(path), plain=False)
    if not isinstance(tree, dict):
        raise UsageError(f"{path} is not a Compose file.", "It needs the keys name and services.")
    _count_nodes(path, tree)
    return tree


def _count_nodes(path: Path, tree: Any) -> None:
    count, waiting = 0, [tree]
    while waiting:
        node = waiting.pop()
        count += 1
        if count > NODE_LIMIT:
            raise UsageError(f"{path} unfolds to more than {NODE_LIMIT:,} values.", "Use fewer aliases.")
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _absolute(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths are meant from the file's own folder, wherever the command is typed."""
    for service in _mappings(tree.get("services")):
        if isinstance(service.get("volumes"), list):
            service["volumes"] = [_absolute_mount(entry, folder) for entry in service["volumes"]]
        build = service.get("build")
        if isinstance(build, dict) and "context" in build:
            build["context"] = _resolved(folder, str(build["context"]))
    for secret in _mappings(tree.get("secrets")):
        if "file" in secret:
            secret["file"] = _resolved(folder, str(secret["file"]))
    return tree


def _resolved(folder: Path, text: str) -> str:
    try:
        return str((folder / text).resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{brief(text)} in the Compose file is no path: {error}", "Correct it.") from error


def _mappings(node: Any) -> list[dict[str, Any]]:
    return [entry for entry in node.values() if isinstance(entry, dict)] if isinstance(node, dict) else []


def _absolute_mount(entry: Any, folder: Path) -> Any:
    if isinstance(entry, str) and entry.startswith("."):
        source, _, rest = entry.partition(":")
        return f"{_resolved(folder, source)}:{rest}"
    return entry


def _wrong(path: Path, error: ValidationError) -> UsageError:
    """The first problem, as file, service and key."""
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"]]
    if place[0] == "services" and len(place) > 1:
        where = f"service {place[1]}" + (f", key {'.'.join(place[2:])}" if len(place) > 2 else "")
    else:
        where = f"key {'.'.join(place)}"
    if problem["type"] == "extra_forbidden":
        return UsageError(
            f"{path}: {where}: k2ctl does not implement this key.",
            "Remove it: to ignore it would start another stack than the file describes.",
        )
    return UsageError(f"{path}: {where}: {said(problem)}", "Correct it.")


def _check_names(path: Path, project: Project) -> None:
    known_networks = {*project.networks, "default"}
    for name, service in project.services.items():
        for kind, used, known in (
            ("service", service.depends_on, project.services),
            ("volume", [mount.source for mount in service.volumes if mount.named], project.volumes),
            ("network", service.networks, known_networks),
            ("secret", service.secrets, project.secrets),
        ):
            for entry in used:
                if entry not in known:
                    raise UsageError(f"{path}: service {name}: there is no {kind} '{entry}'.", "Declare it.")
        _check_health(path, name, service, project)
    _check_circles(path, project)


def _check_health(path: Path, name: str, service: Service, project: Project) -> None:
    for needed, condition in service.depends_on.items():
        if condition == "service_healthy" and project.services[needed].healthcheck is None:
            raise UsageError(
                f"{path}: service {name}: waits for {needed} to be healthy, which has no healthcheck.",
                f"Give {needed} a healthcheck.",
            )


def _check_circles(path: Path, project: Project) -> None:
    left = set(project.services)
    while left:
        ready = {name for name in left if not set(project.services[name].depends_on) & left}
        if not ready:
            raise UsageError(f"{path}: these services wait for each other: {', '.join(sorted(left))}.", "Break it.")
        left -= ready


def interpolate(node: Any, variables: Mapping[str, str], where: str) -> Any:
    """A YAML tree with every variable in its texts replaced; keys stay as they are.

    where: what an error names, e.g. the file and the dotted key.

    Raises:
        UsageError: a variable without a default is not set, or the text is no substitution that k2ctl knows.
    """
    if isinstance(node, str):
        return _PATTERN.sub(lambda match: _replacement(match, variables, where), node)
    if isinstance(node, list):
        return [interpolate(entry, variables, where) for entry in node]
    if isinstance(node, dict):
        return {key: interpolate(entry, variables, f"{where}.{key}") for key, entry in node.items()}
    return node


def _replacement(match: re.Match[str], variables: Mapping[str, str], where: str) -> str:
    if match["dollar"]:
        return "$"
    if match["bad"] is not None:
        raise UsageError(f"{where}: '{match.string}' has a $ that is no variable.", "Write $$ for a dollar sign.")
    name, rule, word = match["bare"] or match["name"], match["rule"] or "", match["word"] or ""
    value = variables.get(name)
    missing = value is None or (rule.startswith(":") and not value)
    if not missing:
        return str(value)
    if rule.endswith("-"):
        return word
    reason = word if rule.endswith("?") and word else "it has no default"
    raise UsageError(f"{where}: the variable {name} is not set: {reason}", f"Set it: export {name}=…")


def escape(text: str) -> str:
    """A text as it must stand in a Compose file to mean itself."""
    return text.replace("$", "$$")

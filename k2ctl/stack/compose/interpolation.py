"""`${VAR}`, `${VAR:-default}`, `${VAR:?error}` and `$$` in a Compose file, as Compose reads them."""

import re
from collections.abc import Mapping
from typing import Any

from k2ctl.errors import UsageError

_PATTERN = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<rule>:?[-?])(?P<word>[^{}]*))?\}|(?P<bad>))"
)


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

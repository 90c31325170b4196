"""Passwords and keys are hidden in what is shown."""

import re
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "…"
_SECRET: Final = re.compile(r"secret|session-token|password|passphrase|key-id|key\.pem|bearer\.config")


def is_secret(name: str) -> bool:
    """True if a setting of that name holds a secret."""
    return _SECRET.search(name) is not None


def without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings with their secrets hidden."""
    return {name: HIDDEN if is_secret(name) else value for name, value in settings.items()}


def without_password(url: str) -> str:
    """A URL as it may be shown: `postgresql://k2:…@host/catalog`."""
    bare = re.sub(r"(?<=://)([^/?#]*?):[^/?#]*@", rf"\1:{HIDDEN}@", url)
    return re.sub(
        r"([?&])([^=&#]+)=[^&#]*",
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if is_secret(found[2]) else found[0],
        bare,
    )

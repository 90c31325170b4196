"""Profiles: `profiles/*.yaml` as frozen models; a mistake names file, line and dotted key."""

from k2ctl.profiles.external import External, state_address, without_written_password
from k2ctl.profiles.loader import (
    chosen,
    lasting_name,
    load_external,
    load_profile,
    profile_names,
    profile_path,
    save_profile,
)
from k2ctl.profiles.model import Profile

__all__ = [
    "External", "Profile", "chosen", "lasting_name", "load_external", "load_profile", "profile_names", "profile_path",
    "save_profile", "state_address", "without_written_password",
]  # fmt: skip

"""Profiles: `profiles/*.yaml` as frozen models; a mistake names file, line and dotted key."""

from k2ctl.profiles.loader import load_profile, profile_names, save_profile
from k2ctl.profiles.model import Profile

__all__ = ["Profile", "load_profile", "profile_names", "save_profile"]

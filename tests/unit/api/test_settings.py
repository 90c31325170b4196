"""Who may listen where, and which keys are keys."""

from pathlib import Path

import pytest

from k2ctl.api.settings import Keys, Settings
from k2ctl.errors import UsageError


def test_an_address_that_others_reach_needs_a_key() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "::ffff:10.0.0.1"):  # noqa: S104
        with pytest.raises(UsageError, match="no key"):
            Settings(host).check()
        Settings(host, keys=Keys((b"k" * 16,))).check()
    for host in ("127.0.0.1", "127.5.0.1", "::1", "localhost"):
        Settings(host).check()
    with pytest.raises(UsageError, match="IP address"):
        Settings("127.evil.com").check()


def test_keys_come_from_a_private_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("a" * 20 + "\n\n" + "b" * 20 + "\n")
    file.chmod(0o600)
    keys = Keys.load(file, {})
    assert keys.allow(b"a" * 20)
    assert keys.allow(b"b" * 20)
    assert not keys.allow(b"")
    assert not keys.allow(b"a")
    assert "a" * 20 not in repr(keys) + str(Settings(keys=keys))
    file.chmod(0o640)
    with pytest.raises(UsageError, match="Others can read"):
        Keys.load(file, {})
    assert Keys.load(None, {"K2CTL_API_KEY": "c" * 20}).allow(b"c" * 20)
    with pytest.raises(UsageError, match="fewer than 16"):
        Keys.load(None, {"K2CTL_API_KEY": "short"})
    assert not Keys.load(None, {})
    assert Keys().allow(b"whatever")
    with pytest.raises(UsageError, match="cannot be read"):
        Keys.load(tmp_path / "none", {})

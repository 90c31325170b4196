"""What another user of this machine can do: the same interpreter, as `nobody`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65_534
_BECOME = f"""
import os, socket, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
"""
"""The interpreter may be where that user cannot go, so it becomes the user when it has started."""


def as_nobody(code: str, *arguments: object) -> str:
    """Run Python code as another user; what it printed. Skips where this one may not become another."""
    if os.geteuid() != 0:
        pytest.skip("only root can try what another user can do")
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{_BECOME}{code}", *map(str, arguments)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CONNECT = """
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""

READ = """
for path in sys.argv[1:]:
    try:
        print(os.listdir(path) if os.path.isdir(path) else open(path).read())
    except PermissionError:
        pass
"""


def reachable(path: Path) -> Path:
    """The path, with the folders above it open to everybody; for one in a temporary folder of the test's own."""
    own = Path(tempfile.gettempdir()).resolve()
    for folder in path.resolve().parents:
        if folder != own and folder.is_relative_to(own):
            assert not folder.name.startswith("k2ctl-"), "this one is shared by every stack of the user"
            folder.chmod(folder.stat().st_mode | 0o055)
    return path

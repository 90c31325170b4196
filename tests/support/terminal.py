"""A command on a terminal of its own, as a person types in it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str, size: tuple[int, int] | None = None) -> None:
        """size: columns and lines, which can be changed later; else lines have 80 columns, and stay so."""
        self._ours, self._theirs = pty.openpty()
        # Whoever leads a session and opens a terminal is controlled by it.
        opened = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>"$0"', os.ttyname(self._theirs), sys.executable, "-m", "k2ctl"]
        environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm", "COLUMNS": "80"}
        if size is not None:
            del environment["COLUMNS"]
            environment.pop("LINES", None)  # whoever imports readline has it set
            self.has_size(*size)
        self.process = subprocess.Popen([*opened, *arguments], start_new_session=True, env=environment)
        self._shown = ""

    def has_size(self, columns: int, lines: int) -> None:
        """The window has so many columns and lines from now on; whoever runs in it is signalled."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hangs_up(self) -> None:
        """The window is closed."""
        os.close(self._theirs)
        os.close(self._ours)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def shows(self, wanted: str, within_s: float = 60) -> str:
        """What is shown up to a text, which is then behind us."""
        deadline_s = time.monotonic() + within_s
        while wanted not in self._shown:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"{wanted!r} is not in {self._shown!r}"
            self._shown += _STYLES.sub("", os.read(self._ours, 65_536).decode("utf-8", "replace"))
        before, _, self._shown = self._shown.partition(wanted)
        return before

    def rest(self) -> str:
        """What is shown until the command ends, with the sequences that a terminal obeys."""
        found = b""
        while self.process.poll() is None or select.select([self._ours], [], [], 0)[0]:
            if select.select([self._ours], [], [], 0.05)[0]:
                found += os.read(self._ours, 65_536)
        return found.decode("utf-8", "replace")

    @property
    def echoes(self) -> bool:
        """Whether what is typed is echoed, as a shell wants it."""
        return bool(termios.tcgetattr(self._theirs)[3] & termios.ECHO)

    def ends(self) -> int:
        code = self.process.wait(30)
        os.close(self._ours)
        os.close(self._theirs)
        return code

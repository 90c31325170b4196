"""A command on a terminal of its own, as a person types in it."""

import os
import pty
import re
import select
import subprocess
import sys
import time

_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, self._theirs = pty.openpty()
        # Whoever leads a session and opens a terminal is controlled by it.
        opened = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>"$0"', os.ttyname(self._theirs), sys.executable, "-m", "k2ctl"]
        environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm", "COLUMNS": "80"}
        self.process = subprocess.Popen([*opened, *arguments], start_new_session=True, env=environment)
        self._shown = ""

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

    def ends(self) -> int:
        code = self.process.wait(30)
        os.close(self._ours)
        os.close(self._theirs)
        return code

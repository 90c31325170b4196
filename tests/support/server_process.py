"""A server of the tests as one process, which can be killed and stand still."""

import signal
import subprocess


class ServerProcess:
    """What the servers of the tests share; who inherits it starts the process."""

    _process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """kill -9: connections are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

"""`k2ctl api` as a process of its own on one port, which can be killed, and started there again."""

import socket
import subprocess
import sys
from contextlib import suppress

import httpx

from tests.support.polling import until
from tests.support.server_process import ServerProcess


class ServiceProcess(ServerProcess):
    """The service of the stack that the environment names."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Returns when it is ready."""
        command = [sys.executable, "-m", "k2ctl", "api", "--port", str(self._port), "--no-flight"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url + "/readyz").status_code == 200
        return False

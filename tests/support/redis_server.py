"""A real Redis for tests that can be paused, killed and brought back, with or without what it knew."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis

from k2ctl.stack.local import free_port
from k2ctl.stack.redis_server import redis_answers, redis_server_binary, redis_settings
from tests.support.place import LOOPBACK, Place


class RedisServer:
    """One redis-server process on a port that stays the same across restarts."""

    def __init__(self, folder: Path, at: Place = LOOPBACK) -> None:
        self.folder = folder
        self._at = at
        self.port = free_port()
        self.url = f"redis://{at.address}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, with what its append-only file holds."""
        where = ["--bind", self._at.address, "--port", str(self.port), "--protected-mode", "no"]
        arguments = [*self._at.command, redis_server_binary(), *where, *redis_settings(self.folder)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit_s = time.monotonic() + 10
        while not redis_answers(self.url):
            assert time.monotonic() < limit_s, "redis-server does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart_empty(self) -> None:
        """Kill it, and bring it back without its data."""
        self.kill()
        for kept in self.folder.glob("appendonly*"):  # a file of Redis 6, a folder of Redis 7
            if kept.is_dir():
                shutil.rmtree(kept)
            else:
                kept.unlink()
        self.start()

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It answers again, first what was asked meanwhile."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def client(self) -> "redis.Redis":
        """A connection for the test's own use."""
        return redis.Redis.from_url(self.url)

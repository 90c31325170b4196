"""A real PostgreSQL for tests, from the machine's own programs, that can be stopped in the middle and brought back."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import psycopg

from k2ctl.stack.local import free_port
from tests.support.place import LOOPBACK, Place

_DEBIAN: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = {"unix_socket_directories": "", "fsync": "off"}
PASSWORD: Final = "between-tests"  # noqa: S105 - of a server that lives as long as the test


class Missing(Exception):
    """A service's programs are not on this machine."""


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`: on PATH, or where Debian has them.

    Raises:
        Missing: there is no PostgreSQL here.
    """
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).parent
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise Missing("PostgreSQL is not installed (apt install postgresql)")
    return versions[-1].parent


class PostgresServer:
    """One PostgreSQL process on a port that stays the same across restarts; each test has a database of its own.

    Its folder is not one of pytest's, which closes those to other users again whenever a second pytest begins.
    """

    def __init__(self, at: Place = LOOPBACK) -> None:
        self._at = at
        self._programs = postgres_programs()
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-postgres-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self.port = free_port()
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _unprivileged(folder)
        self._run("initdb", "-D", str(self._data), "-U", "k2", "-A", "scram-sha-256", "-N", "--pwfile", _secret(folder))
        with (self._data / "pg_hba.conf").open("a") as allowed:
            allowed.write("host all all samenet scram-sha-256\n")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._account, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=180, cwd="/")

    def start(self) -> None:
        """Start it, with what its files hold, and wait until it takes connections."""
        wanted = {**_SETTINGS, "listen_addresses": self._at.address}
        settings = [part for name, value in wanted.items() for part in ("-c", f"{name}={value}")]
        program = [*self._at.command, *self._account, str(self._programs / "postgres")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*program, "-D", str(self._data), "-p", str(self.port), *settings], stdout=log, stderr=log, cwd="/"
            )
        limit_s = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < limit_s, self._log.read_text()[-1000:]
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it at once, as a restart of its container does: connections break in the middle of what they do."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: PostgreSQL's immediate shutdown takes its children along
            self._process.wait(20)
            self._process = None

    def pause(self) -> None:
        """Let it hang, with all its connections: it takes what is sent and answers nothing."""
        for process in self._all():
            process.suspend()

    def resume(self) -> None:
        """Let it go on where it was."""
        for process in self._all():
            process.resume()

    def _all(self) -> list[psutil.Process]:
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def close(self) -> None:
        """End it and delete its data."""
        self.stop()
        self._folder.cleanup()

    def restart(self, between: Callable[[], None] = lambda: None) -> None:
        """Stop it and start it again."""
        self.stop()
        between()
        self.start()

    def database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        self._databases += 1
        name = f"lake{self._databases}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://k2:{PASSWORD}@{self._at.address}:{self.port}/{name}"

    def _dsn(self, database: str) -> str:
        return f"host={self._at.address} port={self.port} user=k2 password={PASSWORD} dbname={database}"


def _secret(folder: Path) -> str:
    path = folder / "password"
    path.write_text(PASSWORD)
    return str(path)


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as nobody, whose folder it is."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, 65534, 65534)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

"""A real S3 store for tests: the Versity gateway over a folder, that can be stopped and brought back."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from pyarrow.fs import S3FileSystem

from k2ctl.stack.local import free_port
from tests.images.build import pinned
from tests.images.programs import CannotBuild, versitygw
from tests.support.place import LOOPBACK, Place
from tests.support.postgres_server import Missing
from tests.support.server_process import ServerProcess

ACCESS_KEY: Final = "k2-tests"
SECRET_KEY: Final = "between-tests"  # noqa: S105 - of a store that lives as long as the test
REGION: Final = "us-east-1"
BUCKET: Final = "lakehouse"


def gateway_program() -> Path:
    """`versitygw` on PATH, or the one of the stack's image, built once into the cache.

    Raises:
        Missing: it is not there, and Go is not, or cannot build it.
    """
    on_path = shutil.which("versitygw")
    if on_path is not None:
        return Path(on_path)
    try:
        return versitygw(pinned()["object-store"].partition(":")[2], lambda _: None)
    except CannotBuild as error:
        raise Missing(str(error)) from error


class ObjectStore(ServerProcess):
    """One gateway process on a port that stays the same across restarts."""

    def __init__(self, folder: Path, at: Place = LOOPBACK) -> None:
        self._at = at
        self._program = gateway_program()
        self._root = folder / "objects"
        (self._root / BUCKET).mkdir(parents=True)
        self._meta = folder / "meta"  # beside the objects: not every file system has extended attributes
        self._meta.mkdir()
        self._folders = 0
        self.port = free_port()
        self.start()

    @property
    def storage(self) -> dict[str, str]:
        """What Iceberg's file IO needs to reach it."""
        return {
            "s3.endpoint": f"http://{self._at.address}:{self.port}",
            "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY,
            "s3.region": REGION,
            "s3.force-virtual-addressing": "False",
        }

    def start(self) -> None:
        """Start it, with what its folder holds."""
        self._process = subprocess.Popen(
            [*self._at.command, self._program, "--port", f"{self._at.address}:{self.port}", "--quiet",
             "posix", "--sidecar", self._meta, self._root],
            env={**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        limit_s = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < limit_s, "versitygw does not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self._at.address}:{self.port}/", timeout=2).close()
        except urllib.error.HTTPError:
            return True  # it refuses strangers
        except OSError:
            return False
        return True

    def folder(self) -> str:
        """A location that no other test has."""
        self._folders += 1
        return f"s3://{BUCKET}/test-{self._folders}"

    def client(self) -> S3FileSystem:
        """A connection for the test's own use."""
        return S3FileSystem(
            access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION, endpoint_override=self.storage["s3.endpoint"]
        )

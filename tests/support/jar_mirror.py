"""A mirror of Maven's repository on loopback, with the jars of Kafka and nothing else."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from k2ctl.stack.kafka_jars import jars


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


def mirror_of(libraries: Path, folder: Path) -> Path:
    """The jars where a repository has them."""
    for jar in jars():
        place = folder / jar.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(libraries / jar.name, place)
    return folder


@contextmanager
def mirrored(folder: Path) -> Iterator[str]:
    """Serve it; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""The embedded engine: Kafka in one background process, catalog and warehouse as local files."""

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.embedded import control
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints, save_past_epoch, state_dir
from k2ctl.stack.processes import is_alive, start_detached, stop

SOCKET_PATH_LIMIT: Final = 100
"""A Unix socket's path has some 107 bytes."""


def control_socket_path() -> Path:
    """Beside the state, or in a private folder of the runtime directory when that path is too long."""
    path = state_dir() / "kafka.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"k2ctl-{os.getuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return runtime / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def start(base: Endpoints) -> Endpoints:
    """Start the broker's process; `base` has the lake's places."""
    socket_path = control_socket_path()
    arguments = [sys.executable, "-m", "k2ctl.broker.embedded", str(socket_path)]
    process, line = start_detached("kafka", arguments, read_line=True)
    ready = json.loads(line)
    return replace(
        base,
        bootstrap_servers=ready["bootstrap_servers"],
        control_socket=str(socket_path),
        epoch=ready["epoch"],
        processes={"kafka": process},
    )


def shut_down(endpoints: Endpoints) -> None:
    """Write down how far the broker has come, and end it. One that died takes that knowledge with it."""
    process = endpoints.processes.get("kafka")
    if process is None or not is_alive(process):
        return
    try:
        _save_watermarks(endpoints)
        if endpoints.control_socket:
            control(endpoints.control_socket, "shutdown")
    except BrokerError:
        # It does not answer, so what it holds unread cannot be counted; the next consumer says so.
        pass
    stop(process)


def _save_watermarks(endpoints: Endpoints) -> None:
    if endpoints.epoch is None:
        return
    with BrokerAdmin(endpoints) as admin:
        highs = {
            topic: {partition: mark.high for partition, mark in admin.watermarks(topic).items()}
            for topic in admin.topics()
        }
    save_past_epoch(endpoints.epoch, highs)

"""The embedded engine: Kafka in one background process, catalog and warehouse as local files."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from k2ctl.endpoints import Endpoints
from k2ctl.epochs import save_past_epoch
from k2ctl.errors import BrokerError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.embedded import control
from k2ctl.stack.processes import end, is_alive, start_detached


def control_socket_path(home: Home) -> Path:
    """Where the broker's process is asked for what its wire protocol lacks."""
    return home.socket("kafka.sock")


def start(base: Endpoints) -> Endpoints:
    """Start the broker's process; `base` has the lake's places."""
    control_socket = str(control_socket_path(base.home))
    arguments = [sys.executable, "-m", "k2ctl.kafka.embedded", control_socket]
    process, line = start_detached("kafka", arguments, read_line=True, home=base.home)
    ready = json.loads(line)
    return replace(
        base,
        bootstrap_servers=ready["bootstrap_servers"],
        control_socket=control_socket,
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
    end([process])


def _save_watermarks(endpoints: Endpoints) -> None:
    if endpoints.epoch is None:
        return
    with BrokerAdmin(endpoints) as admin:
        highs = {
            topic: {partition: mark.high for partition, mark in admin.watermarks(topic).items()}
            for topic in admin.topics()
        }
    save_past_epoch(endpoints.epoch, highs, endpoints.home)

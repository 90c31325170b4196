"""The embedded engine: Kafka in one background process, catalog and warehouse as local files."""

import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from k2ctl.clock import SystemClock
from k2ctl.domain.topics import is_trades_topic
from k2ctl.endpoints import Endpoints
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
    """End the broker's process."""
    process = endpoints.processes.get("kafka")
    if process is None or not is_alive(process):
        return
    if endpoints.control_socket:
        with suppress(BrokerError):  # it does not answer
            control(endpoints.control_socket, "shutdown")
    end([process])


def note_end(endpoints: Endpoints) -> None:
    """Write into the table how far the broker has come, which is about to end with its log.

    Raises:
        BrokerError, LakeError: Kafka or the table cannot be used; the next consumer says that what is lost is unknown.
    """
    process = endpoints.processes.get("kafka")
    if endpoints.epoch is None or process is None or not is_alive(process):
        return
    with BrokerAdmin(endpoints) as admin:
        marks = {
            topic: {partition: mark.high for partition, mark in admin.watermarks(topic).items()}
            for topic in filter(is_trades_topic, admin.topics())
        }
    if any(any(highs.values()) for highs in marks.values()):
        # pyiceberg takes a second to import
        from k2ctl.lake.catalog import Lake
        from k2ctl.lake.ended_epochs import note_end as write

        with Lake.at(endpoints) as lake:
            write(lake, SystemClock(), endpoints.epoch, marks)

"""Hosts on this machine: network namespaces on one bridge, each with an address of its own, that are cut off for real.

A cut drops packets where they arrive, and resets no connection: who waits for an answer waits, as for a host that is
behind a broken switch. Needs root, and `ip`, `iptables` and `nsenter`.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from tests.support.place import Place
from tests.support.postgres_server import Missing

_PROGRAMS: Final = ("ip", "iptables", "nsenter")
_numbers: Final = itertools.count(os.getpid())


@dataclass(frozen=True)
class Host(Place):
    """One network namespace."""

    namespace: str = ""

    def pids(self) -> list[int]:
        """Whoever runs there."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def kill(self) -> None:
        """kill -9 of everything that runs there."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Network:
    """Some hosts, all of which, and this process, reach one another until they are cut off."""

    def __init__(self, *names: str) -> None:
        for program in _PROGRAMS:
            if shutil.which(program) is None:
                raise Missing(f"there is no {program} (apt install iproute2 iptables util-linux)")
        if os.geteuid() != 0:
            raise Missing("network namespaces are made by root only")
        number = next(_numbers)
        self._prefix, self._net = f"k2t{number % 100_000}", f"10.{100 + number // 250 % 100}.{number % 250}"
        self._switch = f"{self._prefix}-switch"
        self.hosts: dict[str, Host] = {}
        try:
            self._make_switch()
            for at, name in enumerate(names, 11):
                self.hosts[name] = self._make_host(name, f"{self._net}.{at}")
        except subprocess.CalledProcessError as error:
            self.close()
            raise Missing(f"no network namespaces here: {error.stderr.strip()}") from error

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def _make_switch(self) -> None:
        """A bridge in a namespace of its own, where no rule of this machine applies; this process gets one port."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        _ip("link", "add", self._prefix, "type", "veth", "peer", "name", "bench", "netns", self._switch)
        self._plug("bench")
        _ip("address", "add", f"{self._net}.1/24", "dev", self._prefix)
        _ip("link", "set", self._prefix, "up")

    def _plug(self, port: str) -> None:
        _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")

    def _make_host(self, name: str, address: str) -> Host:
        namespace = f"{self._prefix}-{name}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", self._switch)
        self._plug(name)
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        return Host(address, ("nsenter", f"--net=/run/netns/{namespace}"), namespace)

    def cut(self, name: str, others: Collection[str] | None = None) -> None:
        """Drop every packet between a host and some others; None: and everybody, this process too."""
        own = self.hosts[name]
        if others is None:
            _filter(own, "-A", "INPUT", "-i", "eth0", "-j", "DROP")
            _filter(own, "-A", "OUTPUT", "-o", "eth0", "-j", "DROP")
            return
        for other in (self.hosts[each] for each in others):
            _filter(own, "-A", "INPUT", "-s", other.address, "-j", "DROP")
            _filter(other, "-A", "INPUT", "-s", own.address, "-j", "DROP")

    def heal(self) -> None:
        """Let every packet through again."""
        for host in self.hosts.values():
            _filter(host, "-F")

    def close(self) -> None:
        """End whoever runs on a host, and remove all that was made."""
        for host in self.hosts.values():
            host.kill()
        names = [line.split()[0] for line in _ip("netns", "list").splitlines()]
        for name in names:
            if name.startswith(f"{self._prefix}-"):
                _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _filter(host: Host, *arguments: str) -> None:
    _run(*host.command, "iptables", "-w", *arguments)


def _run(*command: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

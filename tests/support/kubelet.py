"""Runs a pod's containers as processes of this machine, as their YAML says: arguments, environment, probes, SIGTERM.

A pod has an address of its own in 127.0.0.0/8. Its volumes are folders, and whatever names a path in one is changed.
"""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.polling import until

Secrets = Mapping[tuple[str, str], str]
"""(Secret, key) → its value."""

_FROM_HERE: Final = ("PATH", "LANG", "K2_PROJECT")


class Pod:
    """One pod; its init containers have run to their end when it is made."""

    def __init__(
        self, name: str, spec: dict[str, Any], folder: Path, address: str, files: Mapping[str, str], secrets: Secrets
    ) -> None:
        """files: of the profile's ConfigMap."""
        self.name, self.address, self._spec, self._secrets = name, address, spec, secrets
        (self._container,) = spec["containers"]
        self._folder = folder
        self._paths: dict[str, Path] = {}
        for one in (*spec["initContainers"], self._container):
            for mount in one["volumeMounts"]:
                self._mount(mount["mountPath"], mount.get("subPath"))
        for file, text in files.items():
            (self._paths["/etc/k2"] / file).write_text(self._here(text))
        for one in spec["initContainers"]:
            done = subprocess.run(
                self._command(one), env=self._environment(one), capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        self._process: subprocess.Popen[str] | None = None

    def _mount(self, path: str, key: str | None) -> None:
        here = self._paths[path] = self._folder / path.lstrip("/")
        if key is None:
            here.mkdir(parents=True, exist_ok=True)
        else:
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_text(self._secrets["k2", key])

    def _here(self, text: str) -> str:
        """Paths in volumes, and every address, as they are here."""
        paths = "|".join(map(re.escape, sorted(self._paths, key=len, reverse=True)))
        text = re.sub(rf"(?<![\w/])({paths})(?![\w-])", lambda found: str(self._paths[found[0]]), text)
        return text.replace("0.0.0.0", self.address)  # noqa: S104

    def _command(self, container: dict[str, Any]) -> list[str]:
        arguments = [self._here(one.replace("$(POD_NAME)", self.name)) for one in container["args"]]
        return [sys.executable, "-m", "k2ctl", *arguments]

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        found = {name: os.environ[name] for name in _FROM_HERE if name in os.environ}
        for one in container["env"]:
            source = one.get("valueFrom", {})
            if "secretKeyRef" in source:
                found[one["name"]] = self._secrets[source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]]
            else:
                found[one["name"]] = self.name if "fieldRef" in source else self._here(one["value"])
        return {**found, "TMPDIR": str(self._paths["/tmp"])}  # noqa: S108

    def start(self) -> None:
        """Start the container, again if it has ended."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command(self._container),
                env=self._environment(self._container),
                stdout=log,
                stderr=log,
                text=True,
            )

    @property
    def log(self) -> Path:
        return self._folder / "log"

    def probe(self, kind: str) -> int:
        """The HTTP status of a probe; 0 for no answer."""
        asked = self._container[f"{kind}Probe"]
        port = {one["name"]: one["containerPort"] for one in self._container["ports"]}[asked["httpGet"]["port"]]
        url = f"http://{self.address}:{port}{asked['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=asked["timeoutSeconds"]) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def become_ready(self) -> None:
        """Wait for it as long as its startup probe would, and as long again; meanwhile it must not seem dead."""
        probe = self._container["startupProbe"]
        within_s = probe["periodSeconds"] * probe["failureThreshold"]
        until(lambda: self.probe("startup") == 200, within_s, self.log.read_text)
        until(lambda: self._alive_and_ready(), within_s, self.log.read_text)

    def _alive_and_ready(self) -> bool:
        assert self.probe("liveness") == 200, self.log.read_text()
        return self.probe("readiness") == 200

    def terminate(self) -> tuple[int, float]:
        """As kubelet ends it; exit code and seconds. Fails where kubelet would have killed it."""
        assert self._process is not None
        self._process.terminate()
        began_s = time.monotonic()
        code = self._process.wait(self._spec["terminationGracePeriodSeconds"])
        return code, time.monotonic() - began_s

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run_to_end(self) -> int:
        """Of a job."""
        self.start()
        assert self._process is not None
        return self._process.wait(120)

"""A real Prometheus for tests, and promtool, which comes with it."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from k2ctl.stack.local import free_port


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips without it, or fails where CI demands real services."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("K2CTL_REQUIRE_KAFKA"):
            pytest.fail(f"{name} is not on PATH")
        pytest.skip(f"no {name} on PATH; Debian has it in the package prometheus")
    return found


def promtool(*arguments: str) -> None:
    """Run promtool, which must be content."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class PrometheusServer:
    """One Prometheus with a configuration of the test's own, scraping and evaluating every 200 ms."""

    def __init__(self, folder: Path, rules: Path, targets: dict[str, str]) -> None:
        port = free_port()
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder}", f"--web.listen-address=127.0.0.1:{port}"]
        self._process = subprocess.Popen(
            [program("prometheus"), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        limit_s = time.monotonic() + 30
        while not self._scrapes(len(targets)):
            assert self._process.poll() is None, "Prometheus has ended"
            assert time.monotonic() < limit_s, "Prometheus does not scrape"
            time.sleep(0.1)

    def _scrapes(self, targets: int) -> bool:
        """Whether it has tried every target, which begins five seconds after its start."""
        try:
            return self._client.get("/-/ready").status_code == 200 and len(self.query("up")) == targets
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: label sets with their values."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def get(self, path: str) -> Any:
        """What an endpoint of the HTTP API says."""
        return self._client.get(path).json()["data"]

    def stop(self) -> None:
        """End it."""
        self._client.close()
        self._process.terminate()
        self._process.wait(20)

"""A real API server of Kubernetes on loopback, over an etcd of its own: it admits and stores, and nothing runs."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from k2ctl.stack.local import free_port
from tests.images.programs import CannotBuild, kube_apiserver
from tests.support.chart import client, helm
from tests.support.polling import until
from tests.support.postgres_server import Missing

TOKEN: Final = "between-tests"  # noqa: S105 - of a server that lives as long as the test


class ApiServer:
    """etcd and the API server, with a kubectl that reaches it."""

    def __init__(self) -> None:
        try:
            program = kube_apiserver(lambda _: None)
        except CannotBuild as error:
            raise Missing(str(error)) from error
        self._folder = tempfile.TemporaryDirectory(prefix="k2ctl-kubernetes-", ignore_cleanup_errors=True)
        folder, self.port = Path(self._folder.name), free_port()
        key, tokens, etcd, peers = folder / "key.pem", folder / "tokens.csv", free_port(), free_port()
        key.write_bytes(
            rsa.generate_private_key(65537, 2048).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        tokens.write_text(f"{TOKEN},tests,tests,system:masters\n")
        at, among = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
        self._log = (folder / "log").open("ab")
        self._processes = [
            self._start(
                program.with_name("etcd"), f"--data-dir={folder}/etcd", f"--listen-client-urls={at}",
                f"--advertise-client-urls={at}", f"--listen-peer-urls={among}",
                f"--initial-advertise-peer-urls={among}", f"--initial-cluster=default={among}", "--unsafe-no-fsync",
            ),
            self._start(
                program, f"--etcd-servers={at}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
                f"--cert-dir={folder}/certificates", f"--token-auth-file={tokens}", "--authorization-mode=AlwaysAllow",
                f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://k2.test", "--service-cluster-ip-range=10.0.0.0/24",
                # The controllers that make a namespace's service account do not run.
                "--disable-admission-plugins=ServiceAccount",
            ),
        ]  # fmt: skip
        try:
            until(self._answers, 120, lambda: (folder / "log").read_text()[-2000:])
        except AssertionError:
            self.close()
            raise

    def _start(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([program, *arguments], stdout=self._log, stderr=self._log)

    def _answers(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz").returncode == 0

    def kubectl(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        reached = (f"--server=https://127.0.0.1:{self.port}", "--insecure-skip-tls-verify", f"--token={TOKEN}")
        return subprocess.run(
            [client("kubectl"), *reached, *map(str, arguments)], input=stdin, capture_output=True, text=True,
            check=False, timeout=60, env={**os.environ, "HOME": self._folder.name},
        )  # fmt: skip

    def helm(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        reached = (f"--kube-apiserver=https://127.0.0.1:{self.port}", "--kube-insecure-skip-tls-verify")
        return helm(*arguments, *reached, f"--kube-token={TOKEN}")

    def close(self) -> None:
        for process in self._processes:
            process.kill()  # it would take a minute to drain
            process.wait(60)
        self._log.close()
        self._folder.cleanup()

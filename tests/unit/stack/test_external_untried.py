"""`stack up --engine external --no-wait`: the addresses are left for those who wait for the services themselves."""

import json
from pathlib import Path

import pytest

from tests.support.chart import profile_of
from tests.support.cli import called


def test_addresses_are_left_untried_and_secrets_read(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_of("laptop", tmp_path)
    (tmp_path / "kafka_password").write_text("hush-kafka\n")
    profile.write_text(profile.read_text().replace("/run/secrets/kafka_password", "kafka_password"))
    for name in ("REDIS_PASSWORD", "CATALOG_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"hush-{name}")
    command = ("stack", "up", "--engine", "external", "--profile", str(profile), "--no-wait")
    code, shown, said = called(capsys, *command)
    assert code == 0, said
    assert "is written down, and untried" in shown
    assert "hush" not in shown + said
    written = json.loads((home / "endpoints.json").read_text())
    assert written["bootstrap_servers"] == "kafka-1.kafka:9093,kafka-2.kafka:9094"
    assert written["kafka"]["sasl.password"] == "hush-kafka"
    assert called(capsys, *command)[0] == 0


def test_what_only_containers_have_is_refused_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = profile_of("laptop", tmp_path)
    code, _, said = called(
        capsys, "stack", "up", "--engine", "external", "--profile", str(profile), "--no-wait", "--build"
    )
    assert code == 2
    assert "--service, --port, --build mean nothing to the external engine" in said

"""Secrets of the docker engine: ours alone, and the containers' user can read them whatever was interrupted."""

import os
from pathlib import Path

import pytest

from k2ctl.stack.docker.instance import container_user, ensure_secret


def test_a_secret_is_made_once_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "password"
    ensure_secret(path)
    first = path.read_text()
    ensure_secret(path)
    assert path.read_text() == first
    assert len(first) >= 32
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root's files have another owner")
def test_an_up_that_was_killed_before_it_gave_a_secret_away_is_put_right_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("written by root, and not given away yet")
    ensure_secret(path)
    assert (path.stat().st_uid, path.stat().st_gid) == container_user()

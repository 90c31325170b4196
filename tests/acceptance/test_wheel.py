"""What `pip install`, `pipx` and `uv tool install` are given: the wheel, as it is built from the project."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.views.manual import manual
from tests.support.examples import contexts

ROOT = Path(__file__).parents[2]
PAGE = "k2ctl-0.1.0.data/data/share/man/man1/k2ctl.1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    config = folder / "config.toml"
    config.write_text("format = 'csv'\nengine = 'docker'\n")
    subprocess.run(
        ["env", f"K2CTL_CONFIG={config}", sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT],
        check=True,
        timeout=110,
    )
    with zipfile.ZipFile(*folder.glob("*.whl")) as opened:
        yield opened


def test_its_manual_page_is_what_help_prints_whatever_the_builder_has_set(wheel: zipfile.ZipFile) -> None:
    assert wheel.read(PAGE).decode() == manual(next(contexts()))


def test_it_has_every_file_that_the_program_reads(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "k2ctl", "profiles", "stack"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name if name.startswith("k2ctl/") else f"k2ctl/shipped/{name}" for name in tracked}
    assert wanted - set(wheel.namelist()) == set()

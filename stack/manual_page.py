"""Makes the manual page while a wheel is built, from the same texts as `--help`."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "share/man/man1/k2ctl.1"
"""Below the environment, where `man` looks for pages of programs on the PATH."""


class ManualPage(BuildHookInterface[Any]):
    """Puts what `k2ctl help --man` prints into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        self._folder = TemporaryDirectory()
        page = Path(self._folder.name) / "k2ctl.1"
        page.write_text(_manual(self.root))
        build_data["shared_data"][str(page)] = PLACE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        self._folder.cleanup()


def _manual(root: str) -> str:
    os.environ["K2CTL_CONFIG"] = os.devnull  # the defaults are those of nobody in particular
    sys.dont_write_bytecode = True
    sys.path.insert(0, root)
    import typer

    from k2ctl.cli import NAME, app
    from k2ctl.views.manual import manual

    return manual(typer.Context(typer.main.get_command(app), info_name=NAME))

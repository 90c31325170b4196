"""`python -m tests.pictures`: the README's pictures of the live page, of a platform that load has brought into trouble.

It takes three minutes: a calm one, and the ladder climbed under more load than the consumer may take.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.browser import Page, browser
from tests.support.cli import run
from tests.support.service_process import ServiceProcess

CALM_S, BUSY_S, LONGEST_S = 45, 75, 300
BUDGET, CALM_RATE, BUSY_RATE = 6_000, 3_000, 12_000
DESK, PHONE = (1280, 1090), (390, 1090)
LARGEST_BYTES = 150_000
FOLDER = Path(__file__).parent
TROUBLE = "/AGGRESSIVE|CIRCUIT/.test(level.textContent) && document.querySelector('#advice .wrong') !== null"


@contextmanager
def platform() -> Iterator[ServiceProcess]:
    """A stack of its own in this process' environment, with a consumer that is held back and a service."""
    _succeed("stack", "up", "--engine", "embedded")
    try:
        _succeed("consume", "--detach", "--budget", str(BUDGET))
        service = ServiceProcess()
        try:
            yield service
        finally:
            service.stop()
    finally:
        run("consume", "stop", "--all")
        run("stack", "down", "--volumes", "--yes")


def _succeed(*arguments: str) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr


@contextmanager
def load(rate: int, seconds: int) -> "Iterator[subprocess.Popen[bytes]]":
    """Trades at a rate, by a process that goes on by itself, and ends with the block."""
    command = [sys.executable, "-m", "k2ctl", "load", "--rate", str(rate), "--duration", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def open_page(page: Page, url: str, size: tuple[int, int], scheme: str) -> None:
    """The page with five minutes of history and a symbol."""
    page.become(*size, scheme)
    page.ask("Page.navigate", url=url + "/")
    page.until("document.querySelector('#state').textContent.startsWith('live')")
    page.value("document.querySelector('#span input').click()")
    page.type("#symbol", "BHP")
    page.value("document.activeElement.blur(); scrollTo(0, 0)")
    page.until("document.querySelector('#chart-bars .canvas').ariaLabel.includes('BHP: from')", 60)
    page.until("document.querySelectorAll('#trades .buy, #trades .sell').length === 12", 60)
    page.until(TROUBLE, 60)


def take(page: Page, name: str, top: int, size: tuple[int, int]) -> None:
    """A piece of the page as a small file."""
    file = FOLDER / f"{name}.webp"
    clip = {"x": 0, "y": top, "width": size[0], "height": size[1], "scale": 1}
    page.screenshot(file, format="webp", quality=82, clip=clip)
    assert file.stat().st_size <= LARGEST_BYTES, file


def take_all(page: Page, url: str, scheme: str) -> None:
    """Top and symbol on a desk, and the top on a phone."""
    open_page(page, url, DESK, scheme)
    take(page, f"page-{scheme}", 0, DESK)
    top = page.value("document.querySelector('#symbols').getBoundingClientRect().top")
    tall = page.value("document.querySelector('#symbols').offsetHeight")
    take(page, f"symbol-{scheme}", round(top) - 8, (DESK[0], tall + 8))
    open_page(page, url, PHONE, scheme)
    take(page, f"phone-{scheme}", 0, PHONE)


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(K2CTL_HOME=home, K2CTL_CONFIG=home + "/config.toml")
        with platform() as service, browser(Path(home)) as page:
            with load(CALM_RATE, CALM_S) as calm:
                assert calm.wait() == 0
            with load(BUSY_RATE, LONGEST_S):
                time.sleep(BUSY_S)
                for scheme in ("light", "dark"):
                    take_all(page, service.url, scheme)


if __name__ == "__main__":
    main()

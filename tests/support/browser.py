"""A real headless Chromium, driven over a pipe by its own protocol: no port is opened, nothing is downloaded."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    " --no-first-run --remote-debugging-pipe --window-size=1100,1000"
)

_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_NARROW = 600


class Page:
    """One tab. events: those of the protocol, in the order in which they came."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._tab = ""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._tab = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{room}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._tab:
            message["sessionId"] = self._tab
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        document: dict[str, Any] = json.loads(message)
        return document

    def value(self, script: str) -> Any:
        """What an expression has as its value in the page, a promise what it is kept with."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
        return self.ask("Runtime.evaluate", **asked)["result"].get("value")

    def until(self, script: str, timeout_s: float = 20.0) -> None:
        """Wait until an expression is true in the page."""
        ends_s = time.monotonic() + timeout_s
        while not self.value(script):
            assert time.monotonic() < ends_s, f"{script}: {self.value('document.body.innerText')}"
            time.sleep(0.1)

    def type(self, selector: str, text: str) -> None:
        """Type into a field, and Enter."""
        self.write(selector, text)
        self.press("Enter")

    def write(self, selector: str, text: str) -> None:
        """Type into a field, in the place of what it has."""
        self.value(f"document.querySelector('{selector}').focus(); document.querySelector('{selector}').select()")
        self.ask("Input.insertText", text=text)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of `_KEYS`, and let it go."""
        for kind in ("keyDown", "keyUp") * times:
            text = {"text": "\r"} if key == "Enter" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key], **text)

    def point(self, selector: str, across: float) -> None:
        """The pointer on an element, so far across it."""
        of = f"document.querySelector('{selector}').getBoundingClientRect()"
        x, y = self.value(f"(b => [b.x + b.width * {across}, b.y + b.height / 2])({of})")
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def become(self, width: int, height: int, scheme: str) -> None:
        """A window of this size, a phone's where it is narrow, in light or dark."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < _NARROW,
        )  # fmt: skip
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, file: Path, **options: Any) -> None:
        """The whole page as a PNG, or as `options` of `Page.captureScreenshot` say."""
        whole = {"format": "png", "captureBeyondViewport": True, **options}
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", **whole)["data"]))

    def complaints(self) -> list[str]:
        """Errors of scripts and of the content policy; a refused request, of which the browser writes too, is none."""
        found = [str(event["params"]) for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"] for event in self.events if event.get("method") == "Log.entryAdded"]
        return found + [entry["text"] for entry in entries if entry["source"] != "network"]

    def urls(self) -> list[str]:
        """What the browser has asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [request["request"]["url"] for request in sent]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser of its own with an empty profile in `folder`; skips where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    theirs, commands = os.pipe()
    answers, ours = os.pipe()
    far = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 50) for descriptor in (theirs, ours)]
    start = f'exec "$0" {_QUIET} --user-data-dir="$1" 3<&{far[0]} 4>&{far[1]}'
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", start, program, str(folder / "profile")], pass_fds=far, stderr=log)
    for descriptor in (theirs, ours, *far):
        os.close(descriptor)
    try:
        yield Page(commands, answers)
    finally:
        process.terminate()
        process.wait(10)
        os.close(commands)
        os.close(answers)

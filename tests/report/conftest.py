"""The fixture `browser`: Chromium without a window, in which pages are opened, measured, and taken pictures of.

It is spoken to over two pipes (`--remote-debugging-pipe`: the DevTools protocol, each message JSON that ends with a
zero byte), so neither a port nor a package of Python is needed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str:
    """The browser named in $MLCONVERT_BROWSER, or the first of NAMES on the PATH. No browser is an error."""
    named = os.environ.get("MLCONVERT_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    assert found, (
        f"no browser ({named or ', '.join(NAMES)}) to look at HTML reports with: "
        "apt-get install chromium-headless-shell, or name one in MLCONVERT_BROWSER"
    )
    return found


class Browser:
    """A context manager: the browser's process with one page, and nothing left of either when it ends."""

    def __enter__(self) -> Self:
        program = find_browser()
        self.events: deque[dict[str, Any]] = deque()
        self._last, self._rest = 0, b""
        self._home = tempfile.TemporaryDirectory(prefix="mlconvert-browser-", ignore_cleanup_errors=True)
        from_us, self._out = os.pipe()
        self._in, to_us = os.pipe()
        flags = f"--headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir={self._home.name}"
        # The browser reads from descriptor 3 and writes to 4: the shell puts the pipes there.
        command = f'exec "$0" --remote-debugging-pipe {flags} --no-first-run about:blank 3<&{from_us} 4>&{to_us}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, program], pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL
        )
        os.close(from_us)
        os.close(to_us)
        self._session = None
        (page,) = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        with contextlib.suppress(RuntimeError, OSError):  # it has ended already
            self.call("Browser.close")
        try:
            self._process.wait(20)  # for its children end with it, and write to its folder no more
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._home.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its result. Raises RuntimeError for a refusal."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, *, width: int, dark: bool = False, media: str = "") -> None:
        """Open a file in a window that wide, on a phone where that is narrow; `dark`: as who prefers it sees it."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"]["exception"].get("description", "the script failed"))
        return done["result"].get("value")

    def requests(self) -> list[str]:
        """What the page has asked for since it was opened, itself included."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """What the browser has logged about the page: refusals of its policy, errors."""
        return [event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"]

    def picture(self, path: Path) -> None:
        """The whole page, as long as it is, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def tree(self) -> list[tuple[str, str]]:
        """(role, name) of everything that the page tells who does not see it."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"] and "role" in node
        ]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            some = os.read(self._in, 1 << 20)
            if not some:
                raise RuntimeError("the browser has ended")
            self._rest += some
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started

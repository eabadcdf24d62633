"""A real Chromium without a window, driven through a pipe: no driver program, no port and no network.

The DevTools protocol (chromedevtools.github.io/devtools-protocol): JSON texts that end with a zero byte, commands on
the browser's descriptor 3, answers and events on 4.
"""

import base64
import fcntl
import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1280, 1100
SECONDS = 60.0


@contextmanager
def showing(program: str, profile: Path, page: Path) -> Iterator["Browser"]:
    """A browser of its own that shows `page`, and is gone at the end of the block; its profile lies in `profile`."""
    browser = Browser(program, profile, page)
    try:
        browser.open()
        yield browser
    finally:
        browser.close()


class Browser:
    """One page in a browser; see `showing`."""

    def __init__(self, program: str, profile: Path, page: Path) -> None:
        self._numbers = itertools.count(1)
        self._page = page
        self._rest = b""
        self.errors: list[str] = []
        """What the page's scripts threw or complained of."""
        theirs, ours = os.pipe()
        reading, answering = os.pipe()
        # out of the way of 3 and 4, which the shell gives them
        given = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (theirs, answering)]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--window-size={WIDTH},{HEIGHT}"]
        command = [program, *options, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{given[0]} 4>&{given[1]}', "bash", *command],
            pass_fds=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in (theirs, answering, *given):
            os.close(number)
        self._to, self._from = ours, reading
        self._session: str | None = None

    def open(self) -> None:
        """Make a window, and load the page into it."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        self._call("Runtime.enable")
        self._call("Page.enable")
        self.load()

    def load(self) -> None:
        """The page anew, as it is at first."""
        self.run("window.isOld = true")
        self._call("Page.navigate", url=self._page.as_uri())
        end = time.monotonic() + SECONDS
        while not self.run("document.readyState === 'complete' && !window.isOld"):
            assert time.monotonic() < end, "the page does not load"
        self.point_at("h1")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; an exception there is one here."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def place_of(self, selector: str, number: int = 0) -> tuple[float, float]:
        """The middle of an element, scrolled into view."""
        element = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.run(f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())")
        return box[0] + box[2] / 2, box[1] + box[3] / 2

    def point_at(self, selector: str, number: int = 0) -> None:
        """Move the mouse onto an element."""
        x, y = self.place_of(selector, number)
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str, number: int = 0) -> None:
        x, y = self.place_of(selector, number)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def photograph(self, path: Path) -> None:
        """The window as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(answer["params"]["exceptionDetails"]))
            if answer.get("method") == "Runtime.consoleAPICalled" and answer["params"]["type"] in ("error", "warning"):
                self.errors.append(json.dumps(answer["params"]["args"]))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            readable, _, _ = select.select([self._from], [], [], SECONDS)
            assert readable, "the browser does not answer"
            part = os.read(self._from, 1 << 20)
            assert part, f"the browser has ended with code {self._process.poll()}"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

"""A real headless Chromium for the tests, and as much of WebDriver as they need."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from support.hub import free_port
from support.processes import ENVIRONMENT, end

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
FAULTS = (Path(__file__).parent / "page_faults.js").read_text()
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id (WebDriver, section 12)


class Browser:
    """As much of WebDriver as is needed here."""

    def __init__(self, profile: Path) -> None:
        self.base = f"http://127.0.0.1:{free_port()}"
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.base.rpartition(':')[2]}"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env={**ENVIRONMENT, "TMPDIR": str(profile)})
        self._wait()
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = f"/session/{self._call('POST', '/session', capabilities={'alwaysMatch': wanted})['sessionId']}"
        self._call("POST", f"{self.session}/timeouts", implicit=15_000)  # elements of a page that is on its way

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self._call("GET", "/status")
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def _call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def close(self) -> None:
        self._call("DELETE", self.session)
        end(self.driver)

    def go(self, url: str) -> None:
        self._call("POST", f"{self.session}/url", url=url)

    def arrive(self, url: str) -> None:
        """A form or link has been sent off: wait until its page is there."""
        deadline = time.monotonic() + 15
        while self._call("GET", f"{self.session}/url") != url:
            assert time.monotonic() < deadline, self._call("GET", f"{self.session}/url")
            time.sleep(0.02)

    def script(self, text: str) -> Any:
        return self._call("POST", f"{self.session}/execute/sync", script=text, args=[])

    def _find(self, css: str) -> str:
        return str(self._call("POST", f"{self.session}/element", using="css selector", value=css)[ELEMENT])

    def click(self, css: str) -> None:
        self._call("POST", f"{self.session}/element/{self._find(css)}/click")

    def type(self, css: str, text: str) -> None:
        self._call("POST", f"{self.session}/element/{self._find(css)}/value", text=text)

    def text(self, css: str = "main") -> str:
        return str(self._call("GET", f"{self.session}/element/{self._find(css)}/text"))

    def look(self, scheme: str, width: int, height: int = 800) -> None:
        """Colour scheme and size of the window from now on."""
        self.devtools("Emulation.setFocusEmulationEnabled", enabled=True)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                       mobile=width < 600)

    def until(self, script: str, wanted: object) -> None:
        deadline = time.monotonic() + 15
        while (found := self.script(script)) != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", f"{self.session}/goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self) -> list[str]:
        """What the console says: policy violations, failed loads."""
        entries = self._call("POST", f"{self.session}/se/log", type="browser")
        return [entry["message"] for entry in entries]

    def picture(self, path: Path) -> None:
        """The whole page, however long, as a PNG."""
        answer = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def faults(self) -> list[str]:
        """What is wrong with the page as it is now, one line each; empty is well (support/page_faults.js)."""
        found: list[str] = self.script(FAULTS)
        return found

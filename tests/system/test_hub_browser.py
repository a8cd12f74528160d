"""The Hub's pages in a real headless Chromium, in both colour schemes and on a phone's width."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import Daemon
from support.hub import Hub, free_port
from support.processes import ENVIRONMENT, PYTHON, end
from system.test_hub_skopeo import layout

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
PASSWORD = "correct horse battery"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id (WebDriver, section 12)

# The least contrast of any text with what is behind it (WCAG 2.1, 1.4.3), with the words it was found at.
CONTRAST = """
const parse = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
let worst = [99, ""];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
  if (node.closest(".hidden, script, svg")) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < worst[0]) worst = [contrast, walker.currentNode.data.trim()];
}
return worst;
"""


NAMELESS = """
return [...document.querySelectorAll("a, button, summary, svg[role=img], table th, nav, form[role]")]
  .filter((one) => !(one.textContent.trim() || one.ariaLabel)).map((one) => one.outerHTML);
"""
UNSEEN_FOCUS = """
const unseen = [];
const reachable = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]";
for (const one of document.querySelectorAll(reachable)) {
  if (!one.getClientRects().length) continue;
  one.focus({focusVisible: true});
  const style = getComputedStyle(one);
  if (document.activeElement !== one || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2)
    unseen.push([style.outlineStyle, style.outlineWidth, document.activeElement === one, one.outerHTML.slice(0, 200)]);
}
document.activeElement.blur();
return unseen;
"""


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

    def look(self, scheme: str, width: int) -> None:
        """Colour scheme and width from the next page on."""
        self.devtools("Emulation.setFocusEmulationEnabled", enabled=True)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
                       mobile=width < 600)

    def until(self, script: str, wanted: object) -> None:
        deadline = time.monotonic() + 15
        while (found := self.script(script)) != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def devtools(self, command: str, **parameters: Any) -> None:
        self._call("POST", f"{self.session}/goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self) -> list[str]:
        """What the console says: policy violations, failed loads."""
        entries = self._call("POST", f"{self.session}/se/log", type="browser")
        return [entry["message"] for entry in entries]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub")
    data, port = folder / "data", free_port()
    source = layout(folder / "layout")
    script = ("import sys; from pathlib import Path; from kist.hub.publish import publish\n"
              "words = '# About\\n\\n[link](https://example.com) `code`\\n\\n|a|b|\\n|-|-|\\n|1|2|'\n"
              "for tag in ('latest', 'v2'): publish(Path(sys.argv[1]), 'library/app', tag, Path(sys.argv[2]),"
              " summary='An app', description=words)")
    (folder / "layout" / "index.json").write_text(_without_names(source / "index.json"))
    subprocess.run([PYTHON, "-c", script, str(data), str(source)], check=True, env=ENVIRONMENT)
    subprocess.run([PYTHON, "-m", "kist.hub.admin", "--data", str(data), "user", "add", "alice", "--admin"], check=True,
                   input=PASSWORD.encode(), env=ENVIRONMENT)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PYTHON, "-m", "kist.hub", "--data", str(data), "--listen", f"127.0.0.1:{port}",
                                    "--accounts"], stderr=log, env=ENVIRONMENT)
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    end(process)


def _without_names(index: Path) -> str:
    document = json.loads(index.read_text())
    for entry in document["manifests"]:
        del entry["annotations"]
    return json.dumps(document)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


PAGES = ["/", "/search?q=app", "/r/library/app", "/r/library/app/-/image/latest",
         "/r/library/app/-/image/latest/layer/1", "/r/library/app/-/differences?from=latest&to=v2", "/signin",
         "/r/nothing"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_readable_and_fits(site: str, browser: Browser, scheme: str) -> None:
    for width in (360, 390, 1280):
        browser.look(scheme, width)
        for path in PAGES:
            browser.go(site + path)
            contrast, words = browser.script(CONTRAST)
            assert contrast >= 4.5, f"{path} in {scheme}: {contrast:.2f} at {words!r}"
            assert browser.script("return document.documentElement.scrollWidth") <= width, f"{path} at {width}"
            assert browser.script("return document.querySelectorAll('h1').length") == 1
            unnamed = ("return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                       ".filter((one) => !one.labels.length && !one.ariaLabel).length")
            assert browser.script(unnamed) == 0
            assert browser.script(NAMELESS) == [], f"{path}: nothing for a screen reader to say"
            assert browser.script(UNSEEN_FOCUS) == [], f"{path}: the focus can't be seen"
        if width == 1280:
            browser.go(site)
            color = browser.script("return getComputedStyle(document.body).backgroundColor")
            assert (int(color[4:].partition(",")[0]) < 100) is (scheme == "dark")
    assert [line for line in browser.complaints() if "404" not in line] == []


def test_from_the_search_to_a_layers_files(site: str, browser: Browser) -> None:
    browser.look("light", 1200)
    browser.go(site)
    browser.type("#q", "app\n")
    browser.arrive(f"{site}/search?q=app")
    assert "1 result" in browser.text("h1")
    browser.click(".card a")
    browser.arrive(f"{site}/r/library/app")
    assert browser.text(".line code") == f"kist run {site.removeprefix('http://')}/library/app"
    assert browser.script("return document.querySelector('button.copy').hidden") is False
    browser.click("tbody th a")
    browser.arrive(f"{site}/r/library/app/-/image/latest")
    assert "History and layers" in browser.text()
    browser.click(".layer a")
    browser.arrive(f"{site}/r/library/app/-/image/latest/layer/0")
    assert "/bin/app" in browser.text()


def test_a_click_copies_the_run_line(site: str, browser: Browser) -> None:
    browser.look("light", 1200)
    browser.go(f"{site}/r/library/app")
    browser.devtools("Browser.grantPermissions", origin=site,
                     permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.click("button.copy")
    browser.until("return document.querySelector('button.copy').textContent", "Copied")
    assert browser.script("return navigator.clipboard.readText()") == browser.text(".line code")
    assert browser.script("return document.querySelector('button.copy').ariaLabel") == "Copied"
    browser.until("return document.querySelector('button.copy').ariaLabel", "Copy the run command")
    assert browser.text("button.copy") == "Copy"


def test_the_map_of_the_engines_networks(daemon: Daemon, browser: Browser, tmp_path: Path) -> None:
    daemon.ok("network", "create", "back")
    for name in ("one", "two"):
        daemon.ok("run", "-d", "--name", name, "--network", "back", "busybox", "sleep", "60")
    hub = Hub(tmp_path / "data", tmp_path / "log", "--engine", str(daemon.socket))
    try:
        for scheme, width in (("light", 1280), ("dark", 390)):
            browser.look(scheme, width)
            browser.go(f"{hub.url}/networks")
            assert ["one", "two", "network back"] in browser.script(
                "return [...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((c) => c.innerText))"
            )
            assert browser.script("return document.querySelector('.map img').naturalWidth") > 300, "it is drawn"
            contrast, words = browser.script(CONTRAST)
            assert contrast >= 4.5, words
            assert browser.script("return document.documentElement.scrollWidth") <= width
            assert browser.script(UNSEEN_FOCUS) == []
        assert [line for line in browser.complaints() if "404" not in line] == []
    finally:
        hub.close()


def test_the_keyboard_reaches_the_content_first(site: str, browser: Browser) -> None:
    browser.go(site)
    browser.type("body", "\ue004")  # Tab
    assert browser.script("return document.activeElement.textContent") == "Skip to the content"


def test_signing_in_making_a_token_changing_a_description(site: str, browser: Browser) -> None:
    browser.look("dark", 1200)
    browser.go(f"{site}/signin?next=/settings")
    browser.type("input[name=name]", "alice")
    browser.type("input[name=password]", PASSWORD + "\n")
    browser.arrive(f"{site}/settings")
    browser.type("input[name=label]", "laptop")
    browser.click("form.inline button.main")
    assert browser.text(".note code").startswith("kist_")
    contrast, words = browser.script(CONTRAST)
    assert contrast >= 4.5, words
    for path in ("/settings", "/r/library/app/-/settings"):
        for width in (390, 1280):
            browser.look("dark", width)
            browser.go(site + path)
            assert browser.script("return document.documentElement.scrollWidth") <= width, f"{path} at {width}"
    assert [line for line in browser.complaints() if "404" not in line] == []
    browser.type("textarea[name=description]", "\n\nMore words.")
    browser.click("button.main")
    browser.arrive(f"{site}/r/library/app")
    assert "More words." in browser.text(".prose")
    browser.click("header nav button")
    browser.arrive(f"{site}/")
    assert "Sign in" in browser.text("header")

"""What people do on the Hub's pages, in a real headless Chromium (how each page looks: test_hub_gallery.py)."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import Browser
from support.daemon import Daemon
from support.hub import Hub, free_port
from support.processes import ENVIRONMENT, PYTHON, end
from system.test_hub_skopeo import layout

PASSWORD = "correct horse battery"


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
    browser.until("return document.querySelector('button.copy').ariaLabel", "Copy the command")
    assert browser.text("button.copy") == "Copy"


def test_the_map_of_the_engines_networks(daemon: Daemon, browser: Browser, tmp_path: Path) -> None:
    daemon.ok("network", "create", "back")
    for name in ("one", "two"):
        daemon.ok("run", "-d", "--name", name, "--network", "back", "busybox", "sleep", "1000")
    hub = Hub(tmp_path / "data", tmp_path / "log", "--engine", str(daemon.socket))
    try:
        for scheme, width in (("light", 1280), ("dark", 390)):
            browser.look(scheme, width)
            browser.go(f"{hub.url}/networks")
            rows = browser.script(
                "return [...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((c) => c.innerText))"
            )
            assert ["one", "two", "network back"] in rows, browser.script("return document.documentElement.innerText")
            assert browser.script("return document.querySelector('.map img').naturalWidth") > 300, "it is drawn"
            assert browser.faults() == []
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
    for path in ("/settings", "/r/library/app/-/settings"):
        for width in (390, 1280):
            browser.look("dark", width)
            browser.go(site + path)
            assert browser.faults() == [], f"{path} at {width}"
    assert [line for line in browser.complaints() if "404" not in line] == []
    browser.type("textarea[name=description]", "\n\nMore words.")
    browser.click("button.main")
    browser.arrive(f"{site}/r/library/app")
    assert "More words." in browser.text(".prose")
    browser.click("header nav button")
    browser.arrive(f"{site}/")
    assert "Sign in" in browser.text("header")

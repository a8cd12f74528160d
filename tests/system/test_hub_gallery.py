"""Every kind of page of the Hub in a real Chromium, light and dark, from 320 to 1280 px, with what is hard to show.

`make screenshots` takes the pictures of all of them, too, to be looked at (KIST_SCREENSHOTS names the folder).
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.browser import Browser
from support.gallery import LONG, PASSWORD, Engine, fill
from support.hub import Hub
from unit.engine.network.test_network_map import MAP

PICTURES = os.environ.get("KIST_SCREENSHOTS", "")
#: (colour scheme, width in px, height): each scheme, each width, the narrowest is where nothing may have to be scrolled
#: sideways (WCAG 2.2, 1.4.10). Pictures are taken of all four pairs.
LOOKS = [("light", 1280, 800), ("dark", 390, 844), ("light", 320, 640)]
MORE_LOOKS = [("dark", 1280, 800), ("light", 390, 844)] if PICTURES else []
CABIN = "/r/library/cabin"


@dataclass(frozen=True)
class Gallery:
    hub: Hub
    empty: Hub  # without accounts, and with nothing in it
    browser: Browser

    def go(self, path: str) -> None:
        self.browser.go(self.hub.url + path)

    def visit(self, name: str, path: str = "", words: str = "") -> list[str]:
        """What is wrong with the page at ``path``, else with the one that is shown, in each of the looks."""
        if path:
            self.go(path)
        found = [] if words in self.browser.text("main") else [f"{name}: {words!r} is not there"]
        for scheme, width, height in LOOKS + MORE_LOOKS:
            self.browser.look(scheme, width, height)
            found += [f"{name}, {scheme}, {width} px: {fault}" for fault in self.browser.faults()]
            if PICTURES and width != 320:
                self.browser.picture(Path(PICTURES) / f"{name}.{scheme}.{width}.png")
        return found


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    folder = tmp_path_factory.mktemp("gallery")
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
    fill(folder / "data")
    with ExitStack() as stack:
        stack.enter_context(Engine(folder / "engine.sock", MAP))
        hub = Hub(folder / "data", folder / "log", "--accounts", "--engine", str(folder / "engine.sock"))
        stack.callback(hub.close)
        empty = Hub(folder / "nothing", folder / "log2")
        stack.callback(empty.close)
        browser = Browser(tmp_path_factory.mktemp("profile"))
        stack.callback(browser.close)
        yield Gallery(hub, empty, browser)


#: name → (path, words that it shows), as anybody sees them.
PAGES = {
    "front": ("/", "Most pulled"),
    "browse": ("/search", "Page 1 of 2"),
    "browse-last": ("/search?page=2&order=updated", "Page 2 of 2"),
    "search": ("/search?q=cabin", "1 result"),
    "search-nothing": ("/search?q=" + urllib.parse.quote("<b>no such thing</b> " + "w" * 150), "Nothing found"),
    "repository": (CABIN, "How to run it"),
    "repository-many-tags": ("/r/demo/many-tags", "More"),
    "repository-many-tags-2": ("/r/demo/many-tags?last=1.10.0-build.1583800", "First"),
    "repository-multi": ("/r/demo/multi", "linux/arm64"),
    "repository-long-name": (f"/r/{LONG}", "latest"),
    "repository-rtl": ("/r/demo/rtl", "latest"),
    "repository-untagged": ("/r/demo/untagged", "No tags"),
    "repository-artifact": ("/r/demo/chart", "artifact"),
    "repository-hostile": ("/r/demo/odd-files", "of files that bite"),
    "image": (f"{CABIN}/-/image/latest", "Bill of materials"),
    "image-multi": ("/r/demo/multi/-/image/latest?platform=linux/arm64/v8", "linux/s390x"),
    "image-many-layers": ("/r/demo/many-layers/-/image/latest", "step-59"),
    "image-long-name": (f"/r/{LONG}/-/image/latest", "latest"),
    "image-odd": ("/r/demo/odd-files/-/image/latest", "<b>odd</b>"),
    "image-empty": ("/r/scratch-pad/-/image/latest", "scratch-pad"),
    "layer": (f"{CABIN}/-/image/latest/layer/2", "cabin-server"),
    "layer-odd": ("/r/demo/odd-files/-/image/latest/layer/0", "<script>alert(1)</script>"),
    "layer-only-removed": (f"{CABIN}/-/image/latest/layer/0?only=removed", "Nothing of that kind"),
    "differences": (f"{CABIN}/-/differences?from=7.0.15&to=latest", "Growth"),
    "differences-none": (f"{CABIN}/-/differences?from=7&to=latest", "The files are the same"),
    "error-404": ("/r/no/such/thing", "Not found"),
    "error-404-long": ("/" + "no-such-page-" * 30, "Not found"),
    "error-400": (f"{CABIN}/-/image/-bad", "not"),
    "error-500": ("/r/demo/odd-files/-/image/broken", "our fault"),
    "sign-in": ("/signin?next=/settings", "Password"),
}


def test_every_page_that_anybody_sees(gallery: Gallery) -> None:
    found = [fault for name, (path, words) in PAGES.items() for fault in gallery.visit(name, path, words)]
    gallery.browser.go(gallery.empty.url)
    found += gallery.visit("front-empty", "", "Nothing here yet")
    gallery.browser.go(gallery.empty.url + "/search")
    found += gallery.visit("browse-empty", "", "Nothing")
    assert not found, "\n".join(found)
    assert unexpected(gallery.browser) == []


def unexpected(browser: Browser) -> list[str]:
    """What the console complains of, but for the pages that are errors."""
    return [line for line in browser.complaints() if "the server responded with a status of" not in line]


def test_every_page_of_those_who_sign_in(gallery: Gallery) -> None:
    browser = gallery.browser
    browser.look("light", 1280)
    found = []
    _sign_in(gallery, "mallory", "not the password")
    found += gallery.visit("sign-in-failed", "", "is not right")
    for _ in range(10):
        browser.type("input[name=password]", "wrong again\n")
        browser.until("return document.readyState + document.querySelector('input[name=password]').value", "complete")
    found += gallery.visit("error-429", "", "Too many wrong passwords")
    found += gallery.visit("sign-in-name", "/signin?next=/settings", "Name")
    assert not found, "\n".join(found)


def _sign_in(gallery: Gallery, name: str, password: str) -> None:
    gallery.go("/signin?next=/settings")
    gallery.browser.type("input[name=name]", name)
    gallery.browser.type("input[name=password]", password + "\n")


def test_pages_of_an_admin(gallery: Gallery) -> None:
    browser = gallery.browser
    browser.look("light", 1280)
    _sign_in(gallery, "alice", PASSWORD)
    browser.arrive(f"{gallery.hub.url}/settings")
    found = gallery.visit("settings", "", "laptop")
    browser.type("input[name=label]", "a fresh one\n")
    found += gallery.visit("settings-new-token", "", "never shown again")
    browser.type("input[name=old]", "not the old one")
    browser.type("input[name=new]", "another password\n")
    found += gallery.visit("settings-problem", "", "The old password is not right")
    pages: dict[str, tuple[str, str]] = {
        "browse-signed-in": ("/search?q=secret", "acme/secret"),
        "repository-private": ("/r/acme/secret", "immutable tags"),
        "repository-settings": ("/r/acme/secret/-/settings", "bob"),
        "organisation": ("/o/acme", "organisation"),
        "networks": ("/networks", "network back"),
    }
    for name, (path, words) in pages.items():
        found += gallery.visit(name, path, words)
    assert browser.script("return document.querySelector('.map img').naturalWidth") > 300, "it is drawn"
    gallery.go("/settings")
    browser.script("document.querySelector('form.box input[name=csrf]').value = 'forged'")
    browser.type("input[name=label]", "stolen\n")
    found += gallery.visit("error-403", "", "Not allowed")
    assert not found, "\n".join(found)
    assert unexpected(browser) == []

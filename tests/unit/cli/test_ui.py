"""`kist ui` as its user drives it, by Textual's pilot, against the fake engine: every key does what the help says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kist.cli.ui import actions, dialogs, look
from kist.cli.ui.app import UI
from kist.client.client import Client
from support.fake_engine import FakeEngine


@pytest.fixture
def full(engine: FakeEngine) -> FakeEngine:
    """An engine with containers: two that run, one that waits."""
    with Client(engine.host) as client:
        for name, words, labels in (("web", ["sleep"], {"com.docker.compose.project": "shop"}),
                                    ("db", ["sleep"], {}), ("new", ["sleep"], {})):
            client.containers.create({"Image": "busybox", "Cmd": words, "Labels": labels}, name=name)
        for name in ("web", "db"):
            client.containers.start(name)
    return engine


def screen(app: UI) -> str:
    """What is on the screen, as text."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def until(true: Callable[[], object]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


class Driver:
    """The app and the pilot."""

    def __init__(self, app: UI, pilot: object) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)  # type: ignore[attr-defined]

    async def shows(self, *texts: str) -> None:
        await until(lambda: all(text in screen(self.app) for text in texts))


@asynccontextmanager
async def running(engine: FakeEngine, size: tuple[int, int] = (80, 24), theme: str = "kist-dark",
                  **options: object) -> AsyncIterator[Driver]:
    client = Client(engine.host)
    app = UI(client, place=engine.host, theme=theme, interval=0.1, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size, notifications=True) as pilot:
        driver = Driver(app, pilot)
        await until(lambda: app.model.rows or app.lost)
        yield driver
    client.close()


def asked(engine: FakeEngine, line: str) -> Callable[[], bool]:
    return lambda: any(request.startswith(line) for request in engine.lines())


async def test_the_list_the_totals_and_the_plots(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.shows("fake", "28.2.2", "3 containers, 2 running", "100.0% of 2 CPUs", "128M of 8.0G", "6 processes")
        await ui.shows("web", "50.0", "64.0M", "25.0", "Up 5min", "new", "Created", "F1Help", "F10Quit")
        await ui.shows("Memory 64.0M of 256M", "⣿")


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (40, 12), (20, 6)])
async def test_any_size_of_screen(full: FakeEngine, size: tuple[int, int]) -> None:
    async with running(full, size) as ui:
        await ui.shows("web")
        for mode in "1234":
            await ui.press(mode, "enter", "enter")
        await ui.press("f1", "escape", "f9", "escape")
        lines = screen(ui.app).split("\n")
        assert (len(lines), max(map(len, lines))) == (size[1], size[0])


async def test_the_cursor_stays_on_its_container(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.press("down")
        first = ui.app.row
        assert first is not None
        await ui.press("I", "n", "less_than_sign", "greater_than_sign", "T", "M")
        assert ui.app.row is first
        await ui.press("end")
        assert ui.app.row is not None and ui.app.row.name == "new"
        await ui.press("home")
        assert ui.app.row is not None and ui.app.row.name != "new"


async def test_stop_asks_and_does(full: FakeEngine) -> None:
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row and ui.app.row.name == "web")
        await ui.press("s")
        await ui.shows("Stop web?")
        await ui.press("n")
        assert not any("/stop" in line for line in full.lines())
        await ui.press("f7", "y")
        await until(lambda: any("/stop" in line for line in full.lines()))
        await ui.shows("Exited", "F7Start")


async def test_every_action_sends_its_request(full: FakeEngine) -> None:
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row and ui.app.row.name == "web")
        web = full.find("web")
        assert web is not None
        at = f"/containers/{web.id}"
        await ui.press("p")
        await ui.shows("F8Resume")
        await ui.press("f8")
        await ui.shows("F8Pause")
        await ui.press("k", "down", "enter")
        await until(asked(full, f"POST {at}/kill?signal=KILL"))
        await ui.shows("F7Start")
        await ui.press("s")
        await ui.shows("F7Stop")
        await ui.press("r", "enter")
        await until(asked(full, f"POST {at}/restart"))
        await ui.press("d")
        await ui.shows("Remove web")
        await ui.press("y")
        await until(asked(full, f"DELETE {at}?force=1"))
        await ui.shows("0 containers" if not full.containers else "2 containers")


async def test_tagged_ones_are_meant_together(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.press("home", "space", "space", "p")
        await until(lambda: sum("/pause" in line for line in full.lines()) == 2)
        assert not ui.app.table.tagged
        await ui.shows("2 paused")


async def test_an_error_of_the_server_is_told(full: FakeEngine) -> None:
    web = full.find("web")
    assert web is not None
    full.answers["POST", f"/containers/{web.id}/pause"] = (409, {"message": "it is [bold]frozen"})
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row)
        await ui.press("p")
        await ui.shows("it is [bold]frozen", "pause web")


async def test_what_can_not_be_done_is_said(full: FakeEngine) -> None:
    async with running(full, wanted="new") as ui:
        await until(lambda: ui.app.row and ui.app.row.name == "new")
        await ui.press("p")
        await ui.shows("nothing to pause here")
        await ui.press("e")
        await ui.shows("a shell wants a container that runs")


async def test_filter_of_the_list(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.press("f4", *"sho")
        await until(lambda: [line.key for line in ui.app.table.lines] == [full.find("web").id])  # type: ignore[union-attr]
        await ui.press("enter", "f4", "escape")
        await until(lambda: len(ui.app.table.lines) == 3)


async def test_tree_folds_and_sums(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.press("f5")
        await ui.shows("▾ shop (1)", "└─ web", "no project (2)", "F5List")
        await ui.press("home", "minus")
        await ui.shows("▸ shop (1)")
        assert "└─ web" not in screen(ui.app)
        await ui.press("plus")
        await ui.shows("└─ web")


async def test_the_log_follows_and_is_searched(full: FakeEngine) -> None:
    web = full.find("web")
    assert web is not None
    web.log = [(1, b"one\n"), (2, b"\x1b[31mtwo\x1b[0m\x1b[2J\n"), (1, b"three\n")]
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row)
        await ui.press("l")
        await ui.shows("one", "two", "three", "2 Log")
        await ui.press("slash", "t", "h", "enter")
        await until(lambda: "two" not in screen(ui.app))
        await ui.shows("three", "only “th”")
        await ui.press("escape")
        await ui.shows("NAME", "one")


async def test_long_lines_of_a_log_wrap(full: FakeEngine) -> None:
    web = full.find("web")
    assert web is not None
    letters = "".join(f"{n:04}" for n in range(60))  # 240 cells: three rows of 80, or four beside a scroll bar
    web.log = [(1, b"first\n"), (1, f"\x1b[31m{letters}\x1b[0m\n".encode()), (1, "é…漢字\n".encode())]
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row)
        await ui.press("l")
        await ui.shows("first", "0000", "0059", "漢字")
        shown = [line.strip() for line in screen(ui.app).splitlines() if line.strip().isdigit()]
        assert "".join(shown) == letters and len(shown) >= 3
        await ui.press("w")
        await until(lambda: "0059" not in screen(ui.app))
        await ui.press(*["right"] * 24)
        await ui.shows("0059")
        await ui.press("w")
        await ui.shows("0000", "0059")
        ui.app.pane.add(["x" * 100_000] * 10)
        await ui.press("home")
        await ui.shows("first")


async def test_processes_and_details(full: FakeEngine) -> None:
    async with running(full, wanted="web") as ui:
        await until(lambda: ui.app.row)
        await ui.press("3")
        await ui.shows("PID", "sleep")
        await ui.press("i")
        await ui.shows('"Name": "/web"')


async def test_the_head_sorts_and_a_line_is_chosen_by_click(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.pilot.click("Table", offset=(4, 0))  # type: ignore[attr-defined]
        assert ui.app.look_at.sort == "name"
        await ui.pilot.click("Table", offset=(4, 2))  # type: ignore[attr-defined]
        assert ui.app.row is not None and ui.app.row.name == "web"
        await ui.pilot.click("Bar", offset=(2, 0))  # type: ignore[attr-defined]
        assert isinstance(ui.app.screen, dialogs.Help)


async def test_a_server_that_goes_and_comes_back(full: FakeEngine) -> None:
    async with running(full) as ui:
        await ui.shows("web")
        full.end()
        await ui.shows("server gone, trying again", "web")
        full.begin()
        await until(lambda: not ui.app.lost)
        await ui.shows("3 containers")


async def test_an_event_shows_at_once(full: FakeEngine) -> None:
    client = Client(full.host)
    app = UI(client, place="", theme="kist-light", interval=60)
    async with app.run_test():
        await until(lambda: app.model.rows)
        web = full.find("web")
        assert web is not None
        await until(lambda: full.listeners)
        web.status = "paused"
        full.tell(web, "pause")
        await until(lambda: app.model.rows[web.id].state == "paused")
    client.close()


async def test_themes(full: FakeEngine) -> None:
    async with running(full, theme="kist-light") as ui:
        await ui.press("D")
        assert ui.app.theme == "kist-dark"
    async with running(full, theme=look.PLAIN) as ui:
        await ui.shows("web")
        await ui.press("D")
        assert ui.app.theme == look.PLAIN
    assert look.is_light("0;15") and not look.is_light("15;0") and not look.is_light("")


def test_every_action_has_a_request() -> None:
    assert actions.ACTIONS.keys() >= actions.ASKED


def test_the_help_names_every_key() -> None:
    told = " ".join(f"{key} {text}" for _, keys in dialogs.HELP for key, text in keys)
    for binding in UI.BINDINGS:
        key = binding.key.split(",")[0]  # type: ignore[union-attr]
        shown = {"slash": "/", "space": "Space", "enter": "Enter", "escape": "Esc", "tab": "Tab", "up": "↑",
                 "down": "↓", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End", "left": "←",
                 "right": "→", "plus": "+", "minus": "-", "less_than_sign": "<", "greater_than_sign": ">",
                 "delete": "Del"}
        assert shown.get(key, key.upper() if key.startswith("f") and key[1:].isdigit() else key) in told, key


def test_it_wants_a_terminal(kist: Callable[..., object]) -> None:
    done = kist("ui")
    assert (done.returncode, "needs a terminal" in done.stderr) == (1, True)  # type: ignore[attr-defined]



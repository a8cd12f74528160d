"""What `kist ui` shows, without a screen: rows, figures, order, groups, text from containers, plots."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.cli.commands.ps import ports_text
from kist.cli.ui import columns, plot, words
from kist.cli.ui.model import Model, Row, View


def summary(name: str, state: str = "running", **more: Any) -> dict[str, Any]:
    return {"Id": f"id-{name}", "Names": [f"/{name}"], "Image": "busybox", "State": state, "Status": "Up 5 minutes",
            "Created": 1, "Labels": {}, **more}


def sample(n: int, cpu: int = 25) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": n * cpu}, "system_cpu_usage": n * 100, "online_cpus": 2},
            "memory_stats": {"usage": 100, "limit": 400, "stats": {"total_inactive_file": 40}},
            "networks": {"eth0": {"rx_bytes": n * 1000, "tx_bytes": n * 10}, "eth1": {"rx_bytes": n, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": n * 7},
                                                           {"op": "write", "value": n}]},
            "pids_stats": {"current": 4}}


def model(*summaries: dict[str, Any], rounds: int = 2, **cpu: int) -> Model:
    made = Model()
    made.listed(summaries, ports_text)
    for n in range(1, rounds + 1):
        made.sampled({f"id-{name}": sample(n, share) for name, share in cpu.items()}, at=10.0 + 2 * n)
    return made


def names(made: Model, view: View) -> list[str]:
    return [line.row.name if line.row else f"[{line.group and line.group.name}]" for line in made.lines(view)]


def test_figures_are_what_two_samples_differ_by() -> None:
    row = model(summary("web"), web=25).rows["id-web"]
    now = row.now
    assert (now.cpu, now.memory, now.memory_percent, now.pids) == (50.0, 60, 15.0, 4)
    assert (now.received, now.sent, now.read, now.written) == (500.5, 5, 3.5, 0.5)
    assert len(row.history) == 1, "the first sample has no predecessor"


def test_one_that_ended_uses_nothing_and_keeps_its_history() -> None:
    made = model(summary("web"), web=25)
    made.listed([summary("web", "exited")], ports_text)
    made.sampled({"id-web": sample(3)}, at=20.0)
    row = made.rows["id-web"]
    assert (row.now.cpu, row.now.memory, len(row.history)) == (0, 0, 1)


def test_a_counter_that_starts_anew_is_no_negative_rate() -> None:
    made = model(summary("web"), rounds=5, web=25)
    made.sampled({"id-web": sample(1)}, at=30.0)
    assert made.rows["id-web"].now.received == 0


def test_order_filter_and_groups() -> None:
    shop: dict[str, Any] = {"Labels": {"com.docker.compose.project": "shop"}}
    made = model(summary("idle"), summary("busy"), summary("db", **shop), summary("web", **shop),
                 summary("gone", "exited", Image="redis"), idle=0, busy=40, db=10, web=20)
    assert names(made, View()) == ["busy", "web", "db", "idle", "gone"]
    assert names(made, View(turned=True)) == ["idle", "db", "web", "busy", "gone"], "stopped ones stay at the end"
    assert names(made, View(sort="name")) == ["busy", "db", "idle", "web", "gone"]
    assert names(made, View(filter="RED")) == ["gone"]
    assert names(made, View(filter="busybox shop")) == ["web", "db"]
    assert names(made, View(all=False)) == ["busy", "web", "db", "idle"]
    assert names(made, View(tree=True)) == ["[shop]", "web", "db", "[]", "busy", "idle", "gone"]
    folded = made.lines(View(tree=True, folded={"shop"}))
    assert folded[0].group is not None and folded[0].group.rows == 2
    assert folded[0].group.now.cpu == pytest.approx(60.0)
    assert made.totals[-1].cpu == pytest.approx(140.0)


def test_numbers_in_names_count() -> None:
    assert names(model(summary("w10"), summary("w2"), summary("a"), summary("w")), View(sort="name")) == [
        "a", "w", "w2", "w10"]


@pytest.mark.parametrize(("said", "shown"), [
    ("Up Less than a second", "Up 0s"), ("Up About a minute (unhealthy)", "Up 1min (unhealthy)"),
    ("Exited (137) 3 hours ago", "Exited (137) 3h"), ("Up About an hour", "Up 1h"), ("Up 2 weeks (Paused)", "Up 2w"),
])
def test_the_words_of_a_status_are_short(said: str, shown: str) -> None:
    assert columns.status_text(Row("1", status=said)) == shown


@pytest.mark.parametrize("width", [20, 40, 78, 118, 200])
def test_columns_fill_the_screen_and_no_more(width: int) -> None:
    fitted = columns.fitting(width)
    assert fitted[0][0].title == "NAME"
    assert sum(cells for _, cells in fitted) <= width
    assert all(cells > 0 for _, cells in fitted)


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (999, "999"), (1000, "1.0K"), (1 << 20, "1.0M"), (345 << 20, "345M"), (999.96 * 1024, "1000K"),
    (8e15, "7276T"),
])
def test_sizes_are_short(number: float, text: str) -> None:
    assert words.size(number) == text


def test_what_containers_print_can_only_colour() -> None:
    assert words.harmless("\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b[6n\x07!") == "\x1b[31mred\x1b[0m!"
    assert words.harmless("10%\r50%\r100%\r\n") == "100%"
    assert words.harmless("a\x1bPdevice\x1b\\b\x9b2Jc\u202ed") == "ab2Jcd"
    assert words.plain("\x1b[1mbold\x1b[0m") == "bold"


@given(st.text())
def test_no_text_has_a_control_character_left(text: str) -> None:
    shown = words.plain(text)
    assert all(character.isprintable() or character.isspace() or ord(character) > 0x9f for character in shown)
    assert "\x1b" not in shown


def test_areas_stand_and_hang() -> None:
    assert plot.area([0, 1, 2, 4], 2, 1, 4) == ["⣀⣼"]
    assert plot.area([4], 2, 2, 4) == ["⠀⢸", "⠀⢸"]
    assert plot.area([4, 0], 1, 1, 4, hanging=True) == ["⡏"]
    assert plot.area([], 2, 2, 0) == ["⠀⠀", "⠀⠀"]


@given(st.lists(st.floats(0, 1e15)), st.integers(1, 50), st.integers(1, 9))
def test_areas_have_the_size_that_was_asked_for(values: list[float], width: int, height: int) -> None:
    lines = plot.area(values, width, height, plot.nice(max(values, default=0), 1))
    assert [len(line) for line in lines] == [width] * height


@pytest.mark.parametrize(("value", "end"), [(0, 10), (11, 20), (45, 50), (51, 100), (100, 100), (101, 200)])
def test_scales_end_at_round_numbers(value: float, end: float) -> None:
    assert plot.nice(value, 10) == end

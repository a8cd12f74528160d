"""Progress messages, as the docker command draws them."""

from __future__ import annotations

import pytest

from kist.api import progress


def test_a_bar_has_its_numbers_and_its_drawing() -> None:
    assert progress.bar("abc", "Downloading", 512, 2048) == {
        "status": "Downloading", "id": "abc", "progressDetail": {"current": 512, "total": 2048},
        "progress": "[============>" + " " * 38 + "] 512B/2.048kB"}
    assert progress.bar("abc", "Downloading", 2048, 2048)["progress"].startswith("[" + "=" * 50 + ">] ")


def test_a_bar_without_a_known_end() -> None:
    assert progress.bar("abc", "Downloading", 1500, 0) == {
        "status": "Downloading", "id": "abc", "progressDetail": {"current": 1500}, "progress": "1.5kB"}


def test_only_bars_may_be_left_out() -> None:
    assert progress.is_bar(progress.bar("a", "x", 1, 2))
    assert not progress.is_bar(progress.step("a", "Pull complete"))
    assert not progress.is_bar(progress.status("Status: done"))
    assert not progress.is_bar(progress.error("no"))


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.235MB"),
                                             (10**15, "1PB")])
def test_sizes(count: int, text: str) -> None:
    assert progress.size(count) == text

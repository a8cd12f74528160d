"""Sizes, durations, numbers and times."""

from __future__ import annotations

import pytest

from kist.cli import output, times, values


@pytest.mark.parametrize(("text", "size"), [
    ("0", 0), ("42", 42), ("1k", 1024), ("1K", 1024), ("1kb", 1024), ("1KiB", 1024), ("1.5g", 1610612736),
    ("2 MB", 2097152), ("1t", 1 << 40), ("3b", 3), (".5k", 512)])
def test_sizes(text: str, size: int) -> None:
    assert values.size(text) == size


@pytest.mark.parametrize("text", ["", "k", "1x", "-1", "1kk", "1..2", "1 k b", "one"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size: '"):
        values.size(text)


@pytest.mark.parametrize(("text", "nano"), [
    ("0", 0), ("1s", 10**9), ("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000), ("300ms", 300_000_000),
    ("-2m", -120 * 10**9), ("1us", 1000), ("1µs", 1000)])
def test_durations(text: str, nano: int) -> None:
    assert values.duration(text) == nano


@pytest.mark.parametrize(("text", "problem"), [
    ("5", 'missing unit in duration "5"'), ("5x", 'unknown unit "x" in duration "5x"'), ("", "invalid duration"),
    ("s", "invalid duration"), ("1s2", "missing unit")])
def test_no_durations(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        values.duration(text)


def test_numbers_as_go_reads_them() -> None:
    assert [values.integer(text) for text in ("10", "-5", "0x10", "010", "1_000")] == [10, -5, 16, 8, 1000]
    assert values.cpus("1.5") == 1_500_000_000
    for text in ("x", "nan", "inf", "", " 1"):
        with pytest.raises(ValueError, match="failed to parse"):
            values.cpus(text)
    with pytest.raises(ValueError, match="out of range"):
        values.unsigned16("65536")
    with pytest.raises(ValueError, match="invalid syntax"):
        values.unsigned16("-1")


def test_moments() -> None:
    assert times.timestamp("42m", now=10_000.5) == "7480.500000000"
    assert times.timestamp("1600000000.5") == "1600000000.5"
    assert times.timestamp("2013-01-02T13:23:37Z") == "1357133017"
    assert times.timestamp("2013-01-02T13:23:37.25Z") == "1357133017.250000000"
    with pytest.raises(ValueError, match="failed to parse"):
        times.timestamp("soon")


@pytest.mark.parametrize(("seconds", "text"), [
    (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
    (120, "2 minutes"), (59 * 60, "59 minutes"), (3600, "About an hour"), (5399, "About an hour"), (5400, "2 hours"),
    (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
    (730 * 86400, "2 years")])
def test_human_durations(seconds: float, text: str) -> None:
    assert output.human_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [
    (0, "0B"), (999, "999B"), (1000, "1kB"), (4_267_000, "4.27MB"), (123_456_789, "123MB"), (1_500_000_000, "1.5GB")])
def test_human_sizes(size: int, text: str) -> None:
    assert output.human_size(size) == text


def test_binary_sizes() -> None:
    assert [output.binary_size(n) for n in (0, 1536, 1 << 20, 33_331_646_464)] == ["0B", "1.5KiB", "1MiB", "31.04GiB"]


def test_tables_are_aligned_as_go_s_tabwriter_does() -> None:
    assert output.table(["A\tBB\tC", "long text here\tx\ty"]) == ("A                BB        C\n"
                                                                 "long text here   x         y\n")
    assert output.table(["a\tb", "no tabs", "c\td"]) == "a         b\nno tabs\nc         d\n"


def test_quotes() -> None:
    assert output.quoted('sh -c "a\n\x01é"') == '"sh -c \\"a\\n\\x01é\\""'

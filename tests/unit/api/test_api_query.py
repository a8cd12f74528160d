"""Query parameters, filters, versions and names."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.api import filters, names, versions
from kist.api.options import Filters
from kist.api.query import Query
from kist.errors import InvalidParameter


@pytest.mark.parametrize(("text", "value"), [
    ("", False), ("0", False), ("no", False), ("false", False), ("False", False), ("none", False), (" FALSE ", False),
    ("1", True), ("true", True), ("yes", True), ("2", True), ("x", True),
])
def test_flags_are_read_as_docker_reads_them(text: str, value: object) -> None:
    assert Query(urlencode({"f": text})).flag("f") is value


def test_a_flag_that_is_not_there_has_its_default() -> None:
    assert Query("").flag("f") is False
    assert Query("").flag("f", default=True) is True
    assert Query("f=").flag("f", default=True) is False


@pytest.mark.parametrize(("text", "value"), [("", 7), ("0", 0), ("-1", -1), ("42", 42), (str(2**63 - 1), 2**63 - 1)])
def test_numbers(text: str, value: int) -> None:
    assert Query(urlencode({"n": text})).number("n", 7) == value


@pytest.mark.parametrize("text", ["x", "1.5", "1e3", "0x10", str(2**63), "9" * 5000, "١"])
def test_what_is_no_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^invalid value for n: "):
        Query(urlencode({"n": text})).number("n")


@pytest.mark.parametrize(("text", "value"), [
    ("", None), ("0", None), ("1136073600", 1136073600_000000000), ("1796066980.730901636", 1796066980_730901636),
    ("1136073600.5", 1136073600_500000000), ("-5", -5_000000000),
])
def test_times(text: str, value: int | None) -> None:
    assert Query(urlencode({"t": text})).time("t") == value


@pytest.mark.parametrize("text", ["yesterday", "1.", "nan", "inf", "1" * 30, "1.0000000001", "١"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="is not a Unix timestamp"):
        Query(urlencode({"t": text})).time("t")


def test_a_repeated_name_has_its_first_value_and_all_of_them() -> None:
    query = Query("a=1&b=2&a=3")
    assert query.text("a") == "1"
    assert query.all("a") == ["1", "3"]


def test_a_nul_byte_never_gets_through() -> None:
    with pytest.raises(InvalidParameter):
        Query("a=%00").text("a")


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(InvalidParameter):
        Query("&".join(f"a{n}=1" for n in range(1001)))


@given(st.text())
def test_any_query_can_be_read(raw: str) -> None:
    query = Query(raw)
    for name in list(query._first):
        query.flag(name)
        query.all(name)


@pytest.mark.parametrize(("given", "parsed"), [
    ("", {}),
    ({}, {}),
    ({"label": ["a=1", "b"]}, {"label": ["a=1", "b"]}),
    ({"label": {"a=1": True, "b": False}}, {"label": ["a=1"]}),
    ({"a": ["x"], "b": {"y": True}}, {"a": ["x"], "b": ["y"]}),
])
def test_filters_come_in_two_shapes(given: Any, parsed: Filters) -> None:
    assert filters.parse(given if given == "" else json.dumps(given)) == parsed


@pytest.mark.parametrize("text", ["x", "[]", '{"a": "b"}', '{"a": [1]}', '{"a": {"b": 1}}', "[" * 10**5, "\ud800"])
def test_broken_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^invalid filter$"):
        filters.parse(text)


def test_an_unknown_filter_is_refused_by_name() -> None:
    assert filters.only({"label": []}, frozenset({"label"})) == {"label": []}
    with pytest.raises(InvalidParameter, match=r"^invalid filter 'nosuch'$"):
        filters.only({"nosuch": []}, frozenset({"label"}))


@pytest.mark.parametrize(("path", "split"), [
    ("/v1.43/info", ((1, 43), "/info")), ("/info", ((1, 51), "/info")), ("/v1.51", ((1, 51), "/v1.51")),
    ("/volumes", ((1, 51), "/volumes")), ("/v1.x/info", ((1, 51), "/v1.x/info")),
    ("/v1.24/a/v1.9/b", ((1, 24), "/a/v1.9/b")),
])
def test_a_version_is_taken_off_a_path(path: str, split: tuple[versions.Version, str]) -> None:
    assert versions.split(path) == split


@pytest.mark.parametrize("path", ["/v1.23/info", "/v1.52/info", "/v2.0/info", "/v0.1/info", "/v9999.9999/x"])
def test_versions_out_of_range_are_refused(path: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^client version \d+\.\d+ is too (old|new)"):
        versions.split(path)


@pytest.mark.parametrize("name", ["ab", "/ab", "a_b.c-1", "A0", "a" * 255])
def test_names_of_containers(name: str) -> None:
    assert names.container(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "/", "//ab", "-ab", "a b", "ab\n", "é1", "a/b", "a" * 256])
def test_names_that_no_container_has(name: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^Invalid container name "):
        names.container(name)

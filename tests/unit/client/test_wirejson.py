"""The client's JSON agrees with the standard library's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.client import wirejson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20)


@given(VALUES)
def test_what_is_written_is_json(value: Any) -> None:
    assert json.loads(wirejson.dumps(value)) == value


@given(VALUES)
def test_what_json_writes_is_read(value: Any) -> None:
    assert wirejson.loads(json.dumps(value, indent=1).encode()) == value


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"[1,]", b"nope", b"1 2", b'{"a"}', b'{"a":1}x', b"\xff"])
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        wirejson.loads(text)


def test_values_in_a_stream_come_whole_however_they_are_cut() -> None:
    text = b'{"a": 1}\r\n{"b": "x"}\n\n[2]'
    for size in range(1, len(text)):
        values = wirejson.Values()
        found = [value for at in range(0, len(text), size) for value in values.feed(text[at:at + size])]
        assert found + values.close() == [{"a": 1}, {"b": "x"}, [2]]


def test_the_plain_functions_do_the_same() -> None:
    scan, encode = wirejson._plain()
    assert scan('[{"a":1.5}]', 0) == ([{"a": 1.5}], 11)
    assert encode({"a": [None, "é"]}) == '{"a":[null,"\\u00e9"]}'

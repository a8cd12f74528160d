"""The command's JSON: the same as the module's, for what both take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.runtime.jsons import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


@given(VALUES)
def test_as_the_module(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value)) == value
    assert loads(f" \n{dumps(value, indent=2)}\t") == value


@pytest.mark.parametrize("text", ["", " ", "{", "[1,", "1 2", "tru", '{"a" 1}', "{1: 2}", "'a'", '"a', '{"a": 1,}'])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)

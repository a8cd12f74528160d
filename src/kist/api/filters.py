"""The ``filters`` query parameter: a JSON map in either of Docker's two shapes.

::

    {"label": ["a=1", "b"], "status": ["running"]}              since API v1.22
    {"label": {"a=1": true, "b": true}}                         before, and what the docker command sends

Both mean: for each name, any of the values (a label: all of them); false in the old shape takes a value out.
"""

from __future__ import annotations

import msgspec

from kist.api.options import Filters
from kist.errors import InvalidParameter

_decoder = msgspec.json.Decoder(dict[str, list[str] | dict[str, bool]] | None)


def parse(text: str) -> Filters:
    """The filters in ``text`` (empty: none); raises InvalidParameter in Docker's words."""
    if not text:
        return {}
    try:
        given = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidParameter("invalid filter") from None
    return {
        name: values if isinstance(values, list) else [value for value, wanted in values.items() if wanted]
        for name, values in (given or {}).items()
    }


def only(filters: Filters, known: frozenset[str]) -> Filters:
    """``filters`` if every name is ``known``, else Docker's error: a misspelt filter must not match all."""
    for name in filters:
        if name not in known:
            raise InvalidParameter(f"invalid filter '{name}'")
    return filters

"""eq ne lt le gt ge"""

from __future__ import annotations

from kist.cli.gotemplate.errors import CallError
from kist.cli.gotemplate.printing import shown
from kist.cli.gotemplate.values import NILABLE, Value, inside

BASIC = frozenset(("int", "uint", "float", "string", "bool", "complex"))
INCOMPATIBLE = "incompatible types for comparison"


def equal(first: Value, *others: Value) -> Value:
    if not others:
        raise CallError("missing argument for comparison")
    return Value("bool", any(_equal(first, other) for other in others))


def unequal(first: Value, second: Value) -> Value:
    return Value("bool", not _equal(first, second))


def _equal(first: Value, second: Value) -> bool:
    first, second = inside(first), inside(second)
    kinds = {first.kind, second.kind}
    if kinds <= BASIC and (len(kinds) == 1 or kinds == {"int", "uint"}):
        return bool(first.data == second.data)
    if "invalid" in kinds:
        return first.data is None and second.data is None
    if kinds & BASIC:
        raise CallError(INCOMPATIBLE)
    for value in (first, second):
        if value.data is not None and value.kind in ("map", "slice"):
            raise CallError(f"non-comparable type {shown(value)}: {value.type}")
    if any(value.data is None and value.kind in NILABLE for value in (first, second)):
        return first.data is None and second.data is None
    return first.type == second.type and (first.data is second.data if first.kind == "ptr" else
                                          bool(first.data == second.data))


def _below(first: Value, second: Value) -> bool:
    first, second = inside(first), inside(second)
    if not {first.kind, second.kind} <= BASIC:
        raise CallError("invalid type for comparison")
    if first.kind != second.kind and {first.kind, second.kind} != {"int", "uint"}:
        raise CallError(INCOMPATIBLE)
    if first.kind in ("bool", "complex"):
        raise CallError("invalid type for comparison")
    return bool(first.data < second.data)


def less(first: Value, second: Value) -> Value:
    return Value("bool", _below(first, second))


def at_most(first: Value, second: Value) -> Value:
    return Value("bool", _below(first, second) or _equal(first, second))


def greater(first: Value, second: Value) -> Value:
    return Value("bool", not _below(first, second) and not _equal(first, second))


def at_least(first: Value, second: Value) -> Value:
    return Value("bool", not _below(first, second))

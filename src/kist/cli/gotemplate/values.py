"""Go's values: a type's name beside the data as JSON has it. What is missing in the data is the type's zero value.

A `Value` with the type "" is Go's invalid value: what a missing entry of a map gives.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    class Field(NamedTuple):
        name: str
        key: str
        type: str
        brief: bool
        embedded: bool
else:
    from collections import namedtuple

    Field = namedtuple("Field", "name key type brief embedded")

ANY = "interface {}"
USAGE = "*formatter.diskUsageContext"  # has lists of rows
ANY_MAP = "map[string]interface {}"
NUMBERS = {"int": "int", "int64": "int", "int32": "int", "uint": "uint", "uint8": "uint", "uint16": "uint",
           "uint32": "uint", "uint64": "uint", "float64": "float", "bool": "bool", "string": "string",
           "complex128": "complex", ANY: "interface"}
ZERO = {"int": 0, "uint": 0, "float": 0.0, "bool": False, "string": "", "complex": 0j}
NILABLE = frozenset(("ptr", "slice", "map", "interface", "row"))


class Value:
    __slots__ = ("data", "type")
    data: Any
    type: str

    def __init__(self, type_: str, data: Any) -> None:
        self.type = type_
        self.data = ZERO.get(kind(type_)) if data is None else data

    @property
    def kind(self) -> str:
        return kind(self.type)

    @property
    def is_nil(self) -> bool:
        return self.data is None


class Row:
    """One line of a list: fields are functions of what they show, called when a template asks for them.

    A field that takes an argument (`{{.Label "x"}}`) is a function of (data, argument).
    """

    __slots__ = ("_data", "_fields", "name")

    def __init__(self, fields: dict[str, Callable[..., Any]], data: Any, name: str = "*formatter.Context") -> None:
        self._fields, self._data, self.name = fields, data, name

    def field(self, name: str) -> Callable[..., Any] | None:
        found = self._fields.get(name)
        return None if found is None else lambda *arguments: of(found(self._data, *arguments))

    def plain(self) -> dict[str, Any]:
        """All fields that need no argument, as text, in order of their names (`json .`)."""
        from kist.cli.gotemplate.printing import shown

        values = {name: self._fields[name](self._data) for name in sorted(self._fields) if name != "Label"}
        return {name: None if value is None else value if isinstance(value, (dict, list)) else shown(of(value))
                for name, value in values.items()}


_structs: dict[str, tuple[Field, ...]] = {}
_kinds: dict[str, str] = {"": "invalid", "row": "row"}


def underlying(type_: str) -> str:
    """A named type's own form."""
    from kist.cli.gotemplate.structs import NAMED

    return NAMED.get(type_, type_)


def kind(type_: str) -> str:
    """invalid ptr slice array map struct interface int uint float complex bool string row"""
    found = _kinds.get(type_)
    if found is None:
        base = underlying(type_)
        row = base[0] == "*" and base.endswith("Context") and base != USAGE
        found = ("row" if row else "ptr" if base[0] == "*" else "slice" if base[:2] == "[]" else
                 "array" if base[0] == "[" else "map" if base[:4] == "map[" else NUMBERS.get(base, "struct"))
        _kinds[type_] = found
    return found


def element(type_: str) -> str:
    """What a pointer, a slice, an array or a map has."""
    base = underlying(type_)
    if base[0] == "*":
        return base[1:]
    return base[base.index("]") + 1:]


def key_type(type_: str) -> str:
    base = underlying(type_)
    return base[4:base.index("]")]


def fields(type_: str) -> tuple[Field, ...]:
    """A struct's fields."""
    if type_ not in _structs:
        from kist.cli.gotemplate.structs import STRUCTS

        _structs[type_] = tuple(_field(part) for part in STRUCTS.get(type_, "").split(";") if part)
    return _structs[type_]


def _field(part: str) -> Field:
    text, brief = part.removesuffix(",o"), part.endswith(",o")
    if text[0] == "+":
        return Field(text.lstrip("+*").rpartition(".")[2], "", text[1:], brief, embedded=True)
    name, _, type_ = text.partition(" ")
    name, _, key = name.partition("=")
    return Field(name, key or name, type_, brief, embedded=False)


def member(value: Value, name: str) -> Value | None:
    """A struct's field, also of what it embeds; None: it has none of that name."""
    inner = []
    for field in fields(value.type):
        if field.name == name:
            return Value(field.type, value.data if field.embedded else (value.data or {}).get(field.key))
        if field.embedded:
            inner.append(Value(field.type.lstrip("*"), value.data))
    found = next((found for one in inner if (found := member(one, name)) is not None), None)
    if found is None and not inner and name in (value.data or ()) and name not in {f.key for f in fields(value.type)}:
        return Value(ANY, value.data[name])  # what only Kist's servers say
    return found


def of(data: Any) -> Value:
    """What Python's data is in Go: the value inside an interface."""
    if data is None:
        return Value("*formatter.Platform", None)
    if isinstance(data, Value):
        return data
    if isinstance(data, bool):
        return Value("bool", data)
    if isinstance(data, str):
        return Value("string", data)
    if isinstance(data, int):
        return Value("int", data)
    if isinstance(data, float):
        return Value("float64", data)
    if isinstance(data, complex):
        return Value("complex128", data)
    if isinstance(data, Row):
        return Value(data.name, data)
    if isinstance(data, dict):
        return Value("map[string]string" if all(isinstance(one, str) for one in data.values()) else ANY_MAP, data)
    return Value("[]string" if all(isinstance(one, str) for one in data) else "[]" + ANY, list(data))


INVALID = Value("", None)


def inside(value: Value) -> Value:
    """What an interface holds; INVALID when it is nil; any other value as it is."""
    if value.type != ANY:
        return value
    data = value.data
    if data is None:
        return INVALID
    if isinstance(data, bool):
        return Value("bool", data)
    if isinstance(data, (int, float)):  # as it stood in the JSON
        return Value("json.Number", str(data))
    if isinstance(data, dict):
        return Value(ANY_MAP, data)
    return Value("string", data) if isinstance(data, str) else Value("[]" + ANY, data)


def target(value: Value) -> Value:
    """Through pointers and interfaces; a nil one stays what it is."""
    while value.data is not None:
        if value.kind == "ptr":
            value = Value(element(value.type), value.data)
        elif value.type == ANY:
            value = inside(value)
        else:
            break
    return value


def items(value: Value) -> list[Value]:
    """The elements of a slice or an array."""
    type_ = element(value.type)
    data = value.data
    if data is None and value.kind == "array":
        data = [None] * int(value.type[1:value.type.index("]")])
    return [Value(type_, one) for one in data or ()]


def entries(value: Value) -> list[tuple[Value, Value]]:
    """A map's keys and values, by key."""
    key, type_ = key_type(value.type), element(value.type)
    return [(Value(key, name), Value(type_, value.data[name])) for name in sorted(value.data or ())]


def is_true(value: Value) -> bool:
    """Go's notion: not zero, not nil, not empty; a struct always."""
    value = inside(value)
    if value.kind == "invalid":
        return False
    if value.kind in ("ptr", "row"):
        return value.data is not None
    return value.kind == "struct" or bool(value.data)

"""What `--format` templates can call, and how they see data: Go's builtins and Docker's additions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class TemplateError(Exception):
    """The template is wrong, or doesn't fit the data."""


class Row:
    """One line of a list: fields are functions of what they show, called when a template asks for them.

    A field that takes arguments (`{{.Label "x"}}`) is a function of (data, argument…), named in `callable`.
    """

    __slots__ = ("_data", "_fields")

    def __init__(self, fields: dict[str, Callable[..., Any]], data: Any) -> None:
        self._fields, self._data = fields, data

    def get(self, name: str, arguments: list[Any]) -> Any:
        field = self._fields.get(name)
        if field is None:
            raise TemplateError(f"can't evaluate field {name} in type formatter.Context")
        return field(self._data, *arguments)

    def plain(self) -> dict[str, Any]:
        """All fields that need no argument, as text, in order of their names (`json .`)."""
        values = {name: self._fields[name](self._data) for name in sorted(self._fields) if name != "Label"}
        return {name: None if value is None else shown(value) for name, value in values.items()}


def field_of(value: Any, name: str, arguments: list[Any] | None = None) -> Any:
    """`.Name` of a value."""
    if isinstance(value, Row):
        return value.get(name, arguments or [])
    if arguments:
        raise TemplateError(f"{name} is not a method but has arguments")
    if isinstance(value, dict):
        if name not in value:
            raise TemplateError(f'map has no entry for key "{name}"')
        return value[name]
    if value is None:
        raise TemplateError(f"nil pointer evaluating interface {{}}.{name}")
    raise TemplateError(f"can't evaluate field {name} in type {_type(value)}")


def _type(value: Any) -> str:
    names = {"str": "string", "list": "[]interface {}", "bool": "bool", "int": "int", "float": "float64"}
    return names.get(type(value).__name__, "interface {}")


def is_true(value: Any) -> bool:
    return bool(value) or isinstance(value, Row)


def shown(value: Any) -> str:
    """As Go prints it with %v."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_inner(one) for one in value) + "]"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e21 and value != int(value) else _whole_float(value)
    if isinstance(value, Row):
        return shown(value.plain())
    return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else shown(value)


def _whole_float(value: float) -> str:
    return f"{value:.0f}" if abs(value) < 1e6 else f"{value:e}".replace("000e", "e").replace(".e", "e")


def to_json(value: Any) -> str:
    import json

    if isinstance(value, Row):  # Go's own encoder for lines of lists, which keeps them safe inside HTML
        text = json.dumps(value.plain(), ensure_ascii=False, separators=(",", ":"))
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")  # a missing entry is the zero value, not an error
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(f"error calling index: index out of range: {shown(key)}")
            value = value[key]
        else:
            raise TemplateError(f"error calling index: can't index item of type {_type(value)}")
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if start > len(value) or (end is not None and end > len(value)):
        raise TemplateError("error calling slice: index out of range")
    return value[start:end]


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _printf(form: str, *values: Any) -> str:
    output, left = "", list(values)
    at = 0
    while at < len(form):
        if form[at] != "%":
            output += form[at]
            at += 1
            continue
        end = at + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        verb, flags = form[end:end + 1], form[at:end]
        at = end + 1
        output += "%" if verb == "%" else _verb(flags, verb, left)
    return output


def _verb(flags: str, verb: str, left: list[Any]) -> str:
    if not left:
        return f"%!{verb}(MISSING)"
    value = left.pop(0)
    if verb == "q":
        from kist.cli.output import quoted

        return quoted(shown(value))
    if verb in "dxXo" and isinstance(value, int):
        return (flags + verb) % value
    if verb in "feEgG" and isinstance(value, (int, float)):
        return (flags + verb) % value
    if verb in "svt":
        return (flags + "s") % shown(value)
    return f"%!{verb}({_type(value)}={shown(value)})"


def _print(*values: Any) -> str:
    """Go's Sprint: blanks between operands when neither is text."""
    output = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            output += " "
        output += shown(value)
    return output


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "split": lambda text, mark: str(text).split(mark),
    "join": lambda values, mark: mark.join(shown(value) for value in values or []),
    "title": _title,
    "lower": lambda text: shown(text).lower(),
    "upper": lambda text: shown(text).upper(),
    "pad": _pad,
    "truncate": lambda text, width: shown(text)[:width],
    "index": _index,
    "slice": _slice,
    "len": len,
    "print": _print,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": _printf,
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "and": lambda *values: next((value for value in values if not is_true(value)), values[-1]),
    "or": lambda *values: next((value for value in values if is_true(value)), values[-1]),
    "html": lambda value: shown(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    "urlquery": lambda value: _urlquery(shown(value)),
}


def _urlquery(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text)


def call(name: str, arguments: list[Any]) -> Any:
    """A function's result; TemplateError instead of Python's own errors."""
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise TemplateError(f"error calling {name}: {error}") from None

"""What templates can call: text/template's own functions, and those that Docker's client adds."""

from __future__ import annotations

from kist.cli.gotemplate import compare, indexing, printing
from kist.cli.gotemplate.errors import CallError
from kist.cli.gotemplate.values import ANY, Value, inside, is_true, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple

    class Function(NamedTuple):
        takes: tuple[str, ...]  # types of the arguments; "value" takes anything, and nothing is dug out of it
        call: Callable[..., Value]
        more: bool = False  # the last one may be given any number of times
else:
    from collections import namedtuple

    Function = namedtuple("Function", "takes call more", defaults=(False,))

MOST = 1 << 20  # how many blanks `pad` makes at most


def _string(text: str) -> Value:
    return Value("string", text)


def _bool(*, truth: bool) -> Value:
    return Value("bool", truth)


def _json(value: Value) -> Value:
    from kist.cli.gotemplate.encoding import encode

    return _string(encode(value))


def _split(text: Value, mark: Value) -> Value:
    return Value("[]string", text.data.split(mark.data) if mark.data else list(text.data))


def _title(text: Value) -> Value:
    made, before = "", " "
    for letter in text.data:
        made += letter.upper() if not (before.isalnum() or before == "_") else letter
        before = letter
    return _string(made)


def _pad(text: Value, before: Value, after: Value) -> Value:
    if not text.data:
        return _string("")
    for count in (before.data, after.data):
        if count < 0:
            raise CallError("strings: negative Repeat count")
        if count > MOST:
            raise CallError("strings: Repeat output length overflow")
    return _string(" " * before.data + text.data + " " * after.data)


def _truncate(text: Value, width: Value) -> Value:
    if width.data < 0:
        raise CallError(f"runtime error: slice bounds out of range [:{width.data}]")
    return _string(text.data[:width.data])


def _joined(values: tuple[Value, ...]) -> str:
    """As html, js and urlquery see their arguments."""
    return str(values[0].data) if len(values) == 1 and values[0].kind == "string" else printing.sprint(values)


def _html(*values: Value) -> Value:
    text = _joined(values).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _string(text.replace('"', "&#34;").replace("'", "&#39;").replace("\0", "\ufffd"))


JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: Value) -> Value:
    def safe(letter: str) -> str:
        if letter in JS:
            return JS[letter]
        return letter if letter.isprintable() else f"\\u{ord(letter):04X}"

    return _string("".join(map(safe, _joined(values))))


def _urlquery(*values: Value) -> Value:
    from urllib.parse import quote_plus

    return _string(quote_plus(_joined(values)))


def _length(value: Value) -> Value:
    one = target(value)
    if one.kind == "invalid":
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    if one.data is None and one.kind in ("ptr", "interface"):
        raise CallError("len of nil pointer")
    if one.kind == "string":
        return Value("int", len(one.data.encode()))
    if one.kind in ("map", "slice", "array"):
        return Value("int", len(one.data or ()))
    raise CallError(f"len of type {one.type}")


def _and_or(name: str) -> Callable[..., Value]:
    """Only for the value of a pipeline: the arguments that are written out are looked at one by one (execute)."""
    def call(*values: Value) -> Value:
        return next((value for value in values if is_true(value) == (name == "or")), values[-1])

    return call


def _call(function: Value, *_arguments: Value) -> Value:
    raise CallError("call of nil" if not inside(function).type else f"non-function of type {function.type}")


def _sprintln(*values: Value) -> Value:
    return _string(" ".join(map(printing.shown, values)) + "\n")


FUNCTIONS: dict[str, Function] = {
    "and": Function(("value", "value"), _and_or("and"), more=True),
    "or": Function(("value", "value"), _and_or("or"), more=True),
    "call": Function(("value", "value"), _call, more=True),
    "eq": Function(("value", "value"), compare.equal, more=True),
    "ne": Function(("value", "value"), compare.unequal),
    "lt": Function(("value", "value"), compare.less),
    "le": Function(("value", "value"), compare.at_most),
    "gt": Function(("value", "value"), compare.greater),
    "ge": Function(("value", "value"), compare.at_least),
    "html": Function((ANY,), _html, more=True),
    "index": Function(("value", "value"), indexing.index, more=True),
    "js": Function((ANY,), _js, more=True),
    "len": Function(("value",), _length),
    "not": Function(("value",), lambda value: _bool(truth=not is_true(value))),
    "print": Function((ANY,), lambda *values: _string(printing.sprint(values)), more=True),
    "printf": Function(("string", ANY), lambda form, *values: _string(printing.sprintf(form.data, values)), more=True),
    "println": Function((ANY,), _sprintln, more=True),
    "slice": Function(("value", "value"), indexing.cut, more=True),
    "urlquery": Function((ANY,), _urlquery, more=True),
    "json": Function((ANY,), _json),
    "join": Function(("[]string", "string"), lambda values, mark: _string(mark.data.join(values.data or ()))),
    "lower": Function(("string",), lambda text: _string(text.data.lower())),
    "pad": Function(("string", "int", "int"), _pad),
    "split": Function(("string", "string"), _split),
    "title": Function(("string",), _title),
    "truncate": Function(("string", "int"), _truncate),
    "upper": Function(("string",), lambda text: _string(text.data.upper())),
}

# In the head of a table these leave a column's name as it is.
_SAME = Function(("string",), lambda text: text)
HEADER_FUNCTIONS: dict[str, Function] = {
    **FUNCTIONS, "json": _SAME, "title": _SAME, "lower": _SAME, "upper": _SAME,
    "truncate": Function(("string", "int"), lambda text, _width: text),
    "join": Function(("string", "string"), lambda text, _mark: text),
    "split": Function(("string", "string"), lambda text, _mark: text),
    "pad": Function(("string", "int", "int"), lambda text, _before, _after: text),
}

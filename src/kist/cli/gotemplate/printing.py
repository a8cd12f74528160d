"""Package fmt: values as text, by verbs with flags, width and precision."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from kist.cli.gotemplate.values import Value

ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v", '"': '\\"',
           "\\": "\\\\"}
PREFIXES = {"x": "0x", "X": "0X", "o": "0", "b": "0b", "O": "0o"}
UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


def quote(text: str) -> str:
    """As strconv.Quote."""
    return '"' + "".join(ESCAPES.get(c) or (c if c.isprintable() else _escaped(c)) for c in text) + '"'


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Value, flags: str = "") -> str:
    """%v; with the flag + or # as %+v and %#v."""
    return _value(value, _Form("v", flags), 0)


class _Form:
    """A verb with its flags, width and precision."""

    __slots__ = ("flags", "precision", "verb", "width")

    def __init__(self, verb: str, flags: str = "", width: int | None = None, precision: int | None = None) -> None:
        self.verb, self.flags, self.width, self.precision = verb, flags, width, precision

    def pad(self, text: str, *, zeros: bool = False) -> str:
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if "-" in self.flags:
            return text + " " * missing
        if zeros and "0" in self.flags:
            sign = text[:1] if text[:1] in "+-" else ""
            return sign + "0" * missing + text[len(sign):]
        return " " * missing + text


def _value(value: Value, form: _Form, depth: int) -> str:
    from kist.cli.gotemplate.values import ANY, inside

    if value.type == ANY:
        held = inside(value)
        if held.type:
            return _value(held, form, depth)
        return "interface {}(nil)" if _go(form) else _nil(form)
    if value.kind == "invalid":
        return _nil(form)
    if form.verb == "T":
        return form.pad(value.type)
    maker = _MAKERS.get(value.kind)
    return maker(value, form, depth) if maker else _plain(value, form)


def _go(form: _Form) -> bool:
    return form.verb == "v" and "#" in form.flags


def _nil(form: _Form) -> str:
    return form.pad("<nil>") if form.verb in "vT" else f"%!{form.verb}(<nil>)"


def _struct(value: Value, form: _Form, depth: int) -> str:
    from kist.cli.gotemplate.values import Value, fields

    data = value.data or {}
    if value.type == "units.Ulimit" and form.verb in "vs" and not _go(form):
        return form.pad(_ulimit(data))
    parts = [(f.name, Value(f.type, data if f.embedded else data.get(f.key))) for f in fields(value.type)]
    if _go(form):
        return value.type + "{" + ", ".join(f"{name}:{_value(one, form, depth + 1)}" for name, one in parts) + "}"
    named = form.verb == "v" and "+" in form.flags
    return "{" + " ".join((f"{name}:" if named else "") + _value(one, form, depth + 1) for name, one in parts) + "}"


def _map(value: Value, form: _Form, depth: int) -> str:
    from kist.cli.gotemplate.values import entries

    if _go(form):
        if value.data is None:
            return f"{value.type}(nil)"
        pairs = [f"{_value(k, form, depth + 1)}:{_value(v, form, depth + 1)}" for k, v in entries(value)]
        return value.type + "{" + ", ".join(pairs) + "}"
    return "map[" + " ".join(f"{_value(k, form, depth + 1)}:{_value(v, form, depth + 1)}"
                             for k, v in entries(value)) + "]"


def _list(value: Value, form: _Form, depth: int) -> str:
    from kist.cli.gotemplate.values import items

    if _go(form):
        if value.data is None and value.kind == "slice":
            return f"{value.type}(nil)"
        return value.type + "{" + ", ".join(_value(one, form, depth + 1) for one in items(value)) + "}"
    return "[" + " ".join(_value(one, form, depth + 1) for one in items(value)) + "]"


def _pointer(value: Value, form: _Form, depth: int) -> str:
    from kist.cli.gotemplate.values import Value, element

    if value.data is None:
        return f"({value.type})(nil)" if _go(form) else _nil(form) if form.verb == "v" else f"%!{form.verb}(<nil>)"
    within = Value(element(value.type), value.data)
    if within.type == "units.Ulimit" and form.verb in "vs" and not _go(form):
        return form.pad(_ulimit(value.data))
    if depth == 0 and within.kind in ("struct", "map", "slice", "array"):
        return "&" + _value(within, form, depth + 1)
    address = f"0xc{id(value.data) & 0xfffffffff:09x}"  # Go shows where it is, which tells nobody anything
    return f"({value.type})({address})" if _go(form) else form.pad(address)


def _row(value: Value, form: _Form, _depth: int) -> str:
    return form.pad("{" + " ".join(str(one) for one in value.data.plain().values()) + "}")


_MAKERS = {"struct": _struct, "map": _map, "slice": _list, "array": _list, "ptr": _pointer, "row": _row}


def _plain(value: Value, form: _Form) -> str:
    """A number, a truth or a text."""
    data, verb = value.data, form.verb
    if value.type in _STRINGERS and verb in "vsq" and not _go(form):
        data = _STRINGERS[value.type](data)
        return _text(data, form) or _bad(value, form)
    made: str | None = None
    if value.kind == "string":
        made = _text(data, form)
    elif value.kind == "bool":
        made = form.pad("true" if data else "false") if verb in "tv" else None
    elif value.kind in ("int", "uint"):
        made = _integer(data, form, value.kind)
    elif value.kind == "float":
        made = _float(data, form)
    elif value.kind == "complex":
        real, imaginary = _float(data.real, form), _float(abs(data.imag), form)
        made = None if real is None else f"({real}{'-' if data.imag < 0 else '+'}{imaginary}i)"
    return _bad(value, form) if made is None else made


def _bad(value: Value, form: _Form) -> str:
    return f"%!{form.verb}({value.type}={shown(value)})"


def _text(data: str, form: _Form) -> str | None:
    verb = form.verb
    if form.precision is not None and verb in "svqxX":
        data = data[:form.precision]
    if _go(form) or verb == "q":
        return form.pad(f"`{data}`" if "#" in form.flags and verb == "q" and "`" not in data else quote(data))
    if verb in "sv":
        return form.pad(data, zeros=True)
    if verb in "xX":
        digits = data.encode().hex()
        return form.pad(digits.upper() if verb == "X" else digits)
    return None


def _sign(form: _Form) -> str:
    """What stands before a number that is not negative."""
    return "+" if "+" in form.flags and form.verb != "v" else " " if " " in form.flags else ""


def _integer(data: int, form: _Form, kind_: str) -> str | None:
    verb, sign = form.verb, _sign(form)
    if _go(form) and kind_ == "uint":
        return form.pad(f"{data:#x}")
    if verb in "dv":
        body, prefix = str(abs(data)), ""
    elif verb in "xXobO":
        body = format(abs(data), {"O": "o"}.get(verb, verb))
        prefix = PREFIXES[verb] if "#" in form.flags or verb == "O" else ""
    elif verb == "c":
        return form.pad(chr(data) if 0 <= data < 0x110000 else "\ufffd")
    elif verb == "q":
        return form.pad("'" + ("\\'" if data == 39 else chr(data)) + "'")
    elif verb == "U":
        return form.pad(f"U+{data:04X}")
    else:
        return None
    if form.precision is not None:
        body = body.zfill(form.precision)
    return form.pad(("-" if data < 0 else sign) + prefix + body, zeros=form.precision is None)


def _float(data: float, form: _Form) -> str | None:
    verb, sign = form.verb, _sign(form)
    if verb in "vgG" and form.precision is None:
        text = _shortest(abs(data))
    elif verb in "feEFgG":
        text = format(abs(data), f".{6 if form.precision is None else form.precision}{verb}")
    elif verb == "v":
        text = format(abs(data), f".{form.precision}g")
    else:
        return None
    return form.pad(("-" if data < 0 else sign) + text, zeros=True)


def _shortest(data: float) -> str:
    """The fewest digits that mean this number; with an exponent from 1e+06 and below 1e-04."""
    if data != data or data in (float("inf"), float("-inf")):
        return "NaN" if data != data else "+Inf"
    if data == 0:
        return "0"
    mantissa, _, exponent = repr(data).partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    all_digits = (whole + part).lstrip("0")
    power = int(exponent or 0) + (len(whole) if whole != "0" else len(all_digits) - len(part)) - 1
    all_digits = all_digits.rstrip("0") or "0"
    if power < -4 or power >= 6:
        point = "." if all_digits[1:] else ""
        return f"{all_digits[0]}{point}{all_digits[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return "0." + "0" * (-power - 1) + all_digits
    padded = all_digits.ljust(power + 1, "0")
    return padded[:power + 1] + ("." + padded[power + 1:] if padded[power + 1:] else "")


def _duration(nano: int) -> str:
    """`1h2m3.5s`, as time.Duration says itself."""
    if nano == 0:
        return "0s"
    sign, rest = "-" if nano < 0 else "", abs(nano)
    if rest < 1_000_000_000:
        width, unit = (1, "ns") if rest < 1000 else (1000, "µs") if rest < 1_000_000 else (1_000_000, "ms")
        text = f"{rest / width:.6f}".rstrip("0").rstrip(".")
        return f"{sign}{text}{unit}"
    made = ""
    for width, unit in UNITS:
        if rest >= width or made:
            made += f"{rest // width}{unit}"
            rest %= width
    whole, part = divmod(rest, 1_000_000_000)
    return f"{sign}{made}{whole}{f'.{part:09d}'.rstrip('0') if part else ''}s"


def _moment(text: str) -> str:
    """`2026-11-30 19:17:20.60 +0000 UTC`, as time.Time says itself."""
    if not text:
        return "0001-01-01 00:00:00 +0000 UTC"
    day, _, rest = text.partition("T")
    if rest.endswith("Z"):
        return f"{day} {rest[:-1]} +0000 UTC"
    zone = rest[-6:].replace(":", "")
    return f"{day} {rest[:-6]} {zone} {zone}"


def _ulimit(data: dict[str, Any]) -> str:
    """`nofile=10:20`, as units.Ulimit says itself."""
    return f"{data.get('Name', '')}={data.get('Soft', 0)}:{data.get('Hard', 0)}"


_STRINGERS: dict[str, Callable[[Any], str]] = {"time.Duration": _duration, "time.Time": _moment}


# -- Sprintf and its like


def sprint(values: Sequence[Value]) -> str:
    """Blanks between operands when neither is text."""
    from kist.cli.gotemplate.values import inside

    made, values = "", [inside(value) for value in values]
    for number, value in enumerate(values):
        if number and value.kind != "string" and values[number - 1].kind != "string":
            made += " "
        made += shown(value)
    return made


def sprintf(form: str, values: Sequence[Value]) -> str:
    return _Sprintf(form, values).run()


class _Sprintf:
    def __init__(self, form: str, values: Sequence[Value]) -> None:
        self.form, self.values, self.at, self.used = form, values, 0, 0
        self.reordered = False
        self.good = True

    def run(self) -> str:
        made = ""
        while True:
            mark = self.form.find("%", self.at)
            if mark < 0:
                made += self.form[self.at:]
                break
            made += self.form[self.at:mark]
            self.at = mark + 1
            made += self._verb()
        left = self.values[self.used:]
        if left and not self.reordered:
            from kist.cli.gotemplate.values import inside

            parts = [f"{one.type}={shown(one)}" if (one := inside(value)).type else "<nil>" for value in left]
            made += f"%!(EXTRA {', '.join(parts)})"
        return made

    def _verb(self) -> str:
        self.good = True
        flags = ""
        while self.form[self.at:self.at + 1] in tuple("+-# 0"):
            flags += self.form[self.at]
            self.at += 1
        self._choose()
        width = self._size()
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        precision = None
        if self.form[self.at:self.at + 1] == ".":
            self.at += 1
            self._choose()
            precision = self._size() or 0
        self._choose()
        verb = self.form[self.at:self.at + 1]
        self.at += 1
        if not verb:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        if not self.good:
            return f"%!{verb}(BADINDEX)"
        if self.used >= len(self.values):
            return f"%!{verb}(MISSING)"
        value = self.values[self.used]
        self.used += 1
        return _value(value, _Form(verb, flags, width, precision), 0)

    def _choose(self) -> None:
        """`[2]`: the argument to go on with."""
        if self.form[self.at:self.at + 1] != "[":
            return
        self.reordered = True
        end = self.form.find("]", self.at)
        text = self.form[self.at + 1:end] if end > 0 else ""
        self.at = end + 1 if end > 0 else self.at + 1
        if text.isdigit() and 0 < int(text) <= len(self.values):
            self.used = int(text) - 1
        else:
            self.good = False

    def _size(self) -> int | None:
        if self.form[self.at:self.at + 1] == "*":
            self.at += 1
            value = self.values[self.used] if self.used < len(self.values) else None
            self.used += 1
            return min(int(value.data), 1_000_000) if value is not None and value.kind == "int" else None
        start = self.at
        while self.form[self.at:self.at + 1].isdigit():
            self.at += 1
        return min(int(self.form[start:self.at]), 1_000_000) if self.at > start else None

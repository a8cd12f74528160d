"""Constants as Go writes them: numbers, characters, quoted text."""

from __future__ import annotations

from kist.cli.gotemplate.printing import quote

SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
CODES = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


def unquote(text: str) -> str | None:
    """"a\\tb" or `raw` → its text; None when it makes no sense."""
    if text[:1] == "`":
        return text[1:-1].replace("\r", "")
    return _unescape(text[1:-1], text[:1])


def _unescape(text: str, mark: str) -> str | None:
    if "\\" not in text:
        return text
    made, at = bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            made += text[at].encode()
            at += 1
            continue
        letter = text[at + 1:at + 2]
        at += 2
        if letter in SIMPLE and letter:
            made += SIMPLE[letter].encode()
        elif letter == mark:
            made += letter.encode()
        else:
            width, base = CODES.get(letter, (3, 8))
            digits = text[at:at + width] if letter in CODES else text[at - 1:at + 2]
            at += width if letter in CODES else 2
            try:
                code = int(digits, base)
                made += bytes((code,)) if letter == "x" or letter not in CODES else chr(code).encode()
            except (ValueError, OverflowError):
                return None
            if len(digits) != width:
                return None
    return made.decode(errors="replace")


def number(text: str, kind: str) -> int | float | complex:
    """A constant's value. ValueError as Go words it."""
    if kind == "char":
        value = _unescape(text[1:-1], "'")
        if not value:
            raise ValueError("invalid syntax")
        if len(value) != 1:
            raise ValueError(f"malformed character constant: {text}")
        return ord(value)
    if kind == "complex" or text.endswith("i"):
        return complex(text.replace("_", "")[:-1] + "j")
    plain = text.lower()
    try:
        digits = plain.lstrip("+-")
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        value_ = int(plain.replace("0", "0o", 1) if octal else plain, 0)
    except ValueError:
        pass
    else:
        if not -1 << 63 <= value_ < 1 << 64:
            raise ValueError(f"integer overflow: {quote(text)}")
        return value_
    if not set(plain) & set(".ep") and "0x" not in plain:
        raise ValueError(f"{'illegal number syntax' if '__' in plain else 'integer overflow'}: {quote(text)}")
    try:
        return float.fromhex(plain) if "0x" in plain else float(plain)
    except (ValueError, OverflowError):
        raise ValueError(f"illegal number syntax: {quote(text)}") from None

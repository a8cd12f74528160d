"""Kinds of option values: text → value, the errors worded as Docker's (which are Go's).

Pure; imported when an option of such a kind is given. Every function raises ValueError.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATIONS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
              "m": 60_000_000_000, "h": 3_600_000_000_000}
_DIGITS = frozenset("0123456789")
_INT64 = 1 << 63


def integer(text: str) -> int:
    """A whole number; 0x, 0o, 0b prefixes and _ as Go's ParseInt with base 0."""
    return _whole(text, "ParseInt", -_INT64, _INT64 - 1)


def unsigned16(text: str) -> int:
    return _whole(text, "ParseUint", 0, 65535)


def unsigned64(text: str) -> int:
    return _whole(text, "ParseUint", 0, 2 * _INT64 - 1)


def _whole(text: str, parser: str, least: int, most: int) -> int:
    digits = text.lstrip("+-")
    try:
        if not text.isascii() or text != text.strip() or (parser == "ParseUint" and digits != text):
            raise ValueError
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        number = int(text, 8) if octal else int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.{parser}: parsing "{text}": invalid syntax') from None
    if not least <= number <= most:
        raise ValueError(f'strconv.{parser}: parsing "{text}": value out of range')
    return number


def size(text: str) -> int:
    """A size in bytes: `64m`, `1.5g`, `512kb`, `1GiB`; units are powers of 1024."""
    number, unit = _split_number(text)
    unit = unit.removeprefix(" ").lower()
    if number and unit not in _SIZES:
        letter, rest = unit[:1], unit[1:]
        unit = letter if letter in _SIZES and rest in ("b", "ib") else "?"
    if not number or unit not in _SIZES:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(number) * _SIZES[unit])


def size_or_unlimited(text: str) -> int:
    """A size, or -1 for no limit (memory and swap)."""
    return -1 if text == "-1" else size(text)


def _split_number(text: str) -> tuple[str, str]:
    """`"1.5g"` → `("1.5", "g")`; the number is "" when there is none."""
    at = 0
    while at < len(text) and (text[at] in _DIGITS or text[at] == "."):
        at += 1
    number = text[:at]
    if number.count(".") > 1 or not number.replace(".", ""):
        return "", text
    return number, text[at:]


def duration(text: str) -> int:
    """Nanoseconds of `1h30m`, `1.5s`, `300ms`, `0` (Go's time.ParseDuration)."""
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0.0
    while rest:
        number, rest = _split_number(rest)
        if not number:
            raise ValueError(f'time: invalid duration "{text}"')
        end = 0
        while end < len(rest) and rest[end] not in _DIGITS and rest[end] != ".":
            end += 1
        unit, rest = rest[:end], rest[end:]
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _DURATIONS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _DURATIONS[unit]
    return sign * round(total)


def cpus(text: str) -> int:
    """A number of processors in units of 1e-9 (`--cpus 1.5`)."""
    try:
        value = float(text)
        if text != text.strip() or value != value or value in (float("inf"), float("-inf")):
            raise ValueError
    except ValueError:
        raise ValueError(f"failed to parse {text} as a rational number") from None
    nano = round(value * 1_000_000_000)
    if abs(value * 1_000_000_000 - nano) > 0.001:
        raise ValueError("value is too precise")
    return nano


KINDS: dict[str, Callable[[str], int]] = {
    "int": integer,
    "uint": unsigned64,
    "uint16": unsigned16,
    "bytes": size,
    "swap-bytes": size_or_unlimited,
    "duration": duration,
    "decimal": cpus,
}

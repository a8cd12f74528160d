"""`--stop-signal`, `kill -s`: names and numbers of signals."""

from __future__ import annotations

import signal as _signal

from kist.errors import InvalidParameter

_RTMIN, _RTMAX = 34, 64
NUMBERS = {name.removeprefix("SIG"): int(number) for name, number in _signal.Signals.__members__.items()
           if name.startswith("SIG") and not name.startswith(("SIGRT", "SIG_"))}
NUMBERS |= {"RTMIN": _RTMIN, "RTMAX": _RTMAX}


def parse_signal(text: str) -> int:
    """`SIGTERM`, `term`, `15`, `RTMIN+3` → the number; raises InvalidParameter in Docker's words.

    Any number will do, as for Docker; `is_known` is for those who send it."""
    word = text.strip().upper().removeprefix("SIG")
    if word.removeprefix("-").isdecimal() and len(word) < 10:
        number = int(word)
    elif word in NUMBERS:
        number = NUMBERS[word]
    else:
        number = _real_time(word)
    if number == 0:
        raise InvalidParameter(f"invalid signal: {text}")
    return number


def is_known(number: int) -> bool:
    """Whether Linux has that signal."""
    return 1 <= number <= _RTMAX


def _real_time(word: str) -> int:
    for base, sign, start in (("RTMIN+", 1, _RTMIN), ("RTMAX-", -1, _RTMAX)):
        offset = word.removeprefix(base)
        if offset != word and offset.isdecimal() and int(offset) <= _RTMAX - _RTMIN:
            return start + sign * int(offset)
    return 0


def name(number: int) -> str:
    return next((word for word, known in NUMBERS.items() if known == number), str(number))

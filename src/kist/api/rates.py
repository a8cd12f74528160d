"""Rates of data as tc(8) writes them, for `--network-rate` and its like. Pure.

    10mbit                        both ways
    egress=5mbit,ingress=20mbit   each by itself; one that isn't named is left as it is
    1.5mbps                       ps: bytes, not bits, per second
    0                             no limit

Units as in man 8 tc, "PARAMETERS": k, m, g, t are powers of 1000, ki, mi, gi, ti of 1024; a bare number is bits per
second.
"""

from __future__ import annotations

LEAST = 1000  # bytes per second: less than a packet in a second
DIRECTIONS = ("Egress", "Ingress")
#: HostConfig.Annotations: how clients that know no NetworkRate (docker, compose) ask for it
ANNOTATION = "kist.network-rate"
_SCALES = {prefix: scale for power, letter in enumerate(("", "k", "m", "g", "t"))
           for prefix, scale in ((letter, 1000 ** power), (letter + "i" if letter else "", 1024 ** power))}
_UNITS = {"": 1.0, **{f"{prefix}{unit}": float(scale * bits) for prefix, scale in _SCALES.items()
                      for unit, bits in (("bit", 1), ("bps", 8))}}
_HINT = "a number with bit, kbit, mbit or gbit (bits per second), or with bps, kbps, mbps or gbps (bytes per second)"


def bits(text: str) -> int:
    """Bits per second; ValueError with the words to show."""
    plain = text.strip().lower()
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = plain[len(number):]
    try:
        if not set(number) <= set("0123456789.") or unit not in _UNITS:
            raise ValueError
        found = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        raise ValueError(f"invalid rate {text!r}: it is {_HINT}") from None
    if found >= 2 ** 63:
        raise ValueError(f"invalid rate {text!r}: it is out of range")
    return found


def network_rate(text: str) -> dict[str, int]:
    """The API's HostConfig.NetworkRate, in bytes per second: directions that aren't named are not in it."""
    found: dict[str, int] = {}
    for part in text.split(","):
        direction, mark, rate = part.rpartition("=")
        names = (direction.strip().capitalize(),) if mark else DIRECTIONS
        for name in names:
            if name not in DIRECTIONS:
                raise ValueError(f"invalid network rate {text!r}: a direction is egress or ingress")
            if name in found:
                raise ValueError(f"invalid network rate {text!r}: {name.lower()} is there twice")
            found[name] = _bytes(rate)
    return found


def _bytes(text: str) -> int:
    rate = bits(text) // 8
    if 0 < rate < LEAST or (not rate and bits(text)):
        raise ValueError(f"invalid rate {text!r}: at least {LEAST * 8 // 1000}kbit, or 0 for no limit")
    return rate

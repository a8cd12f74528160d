"""Platforms, ``os/architecture[/variant]``, and which of an index's images suits one best.

Names are normalised as containerd does it (``x86_64`` is ``amd64``, ``aarch64`` is ``arm64``, ``armhf``
is ``arm/v7``); a machine also runs what its forebears ran, the nearest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from kist.errors import InvalidParameter

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "i386": ("386", ""), "i486": ("386", ""),
    "i586": ("386", ""), "i686": ("386", ""), "aarch64": ("arm64", ""), "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"), "armv8l": ("arm", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "loongarch64": ("loong64", ""), "mips64el": ("mips64le", ""),
}
_OSES = {"macos": "darwin"}
#: What a variant-less name means, and so the form that is left out.
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_KNOWN_OS = frozenset({
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd",
    "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows", "zos",
})
_PART = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """A platform as descriptors and image configurations spell it (image-spec, image-index.md)."""

    architecture: str = ""
    os: str = ""
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalised(self) -> Platform:
        """With the ecosystem's names, and no variant where it is the usual one."""
        os = _OSES.get(self.os.lower(), self.os.lower())
        architecture, implied = _ARCHITECTURES.get(self.architecture.lower(), (self.architecture.lower(), ""))
        variant = (self.variant or "").lower() or implied
        if variant and not variant.startswith("v") and variant.isdigit():
            variant = f"v{variant}"
        if architecture != "arm" and variant == _DEFAULT_VARIANT.get(architecture):
            variant = ""
        if architecture == "arm" and not variant:
            variant = "v7"
        return Platform(architecture, os, self.os_version, self.os_features, variant or None)


def parse(text: str, default: Platform | None = None) -> Platform:
    """``linux/arm64/v8``, ``linux`` or ``arm64`` as a platform; what is missing comes from *default*."""
    default = default or Platform("amd64", "linux")
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(part and set(part) <= _PART for part in parts):
        raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        if _OSES.get(parts[0].lower(), parts[0].lower()) in _KNOWN_OS:
            return Platform(default.architecture, parts[0], variant=default.variant).normalised()
        return Platform(parts[0], default.os).normalised()
    return Platform(parts[1], parts[0], variant=parts[2] if len(parts) == 3 else None).normalised()


def parse_any(text: str, default: Platform | None = None) -> Platform:
    """A platform as the API's queries write it: like `parse`, or (from v1.46 on) the JSON of a `Platform`."""
    if not text.startswith("{"):
        return parse(text, default)
    try:
        return msgspec.json.decode(text, type=Platform).normalised()
    except msgspec.MsgspecError:
        raise InvalidParameter(f"invalid platform: {text}") from None


def from_uname(system: str, machine: str) -> Platform:
    """The platform of ``uname -s`` and ``uname -m``."""
    return Platform(machine, system).normalised()


def runnable(wanted: Platform) -> list[tuple[str, str]]:
    """(architecture, variant) pairs that a machine of platform *wanted* runs, best first."""
    wanted = wanted.normalised()
    architecture, variant = wanted.architecture, wanted.variant or ""
    older = _older(architecture, variant)
    if architecture == "amd64":
        return [*older, ("386", "")]
    if architecture == "arm64":
        return [*older, *_older("arm", "v8")]
    return older


def _older(architecture: str, variant: str) -> list[tuple[str, str]]:
    """The variants from *variant* downwards; the usual one is written as none, but for arm."""
    oldest = {"arm": 5, "arm64": 8, "amd64": 1}.get(architecture)
    number = (variant or _DEFAULT_VARIANT.get(architecture, "")).removeprefix("v")
    if oldest is None or not number.isascii() or not number.isdigit() or int(number) > 99:
        return [(architecture, variant)]
    names = [f"v{n}" for n in range(int(number), oldest - 1, -1)]
    usual = "" if architecture == "arm" else _DEFAULT_VARIANT[architecture]
    return [(architecture, "" if name == usual else name) for name in names]


T = TypeVar("T")


def choose(candidates: Sequence[tuple[Platform | None, T]] | Iterable[tuple[Platform | None, T]],
           wanted: Platform, *, strict: bool = False) -> T | None:
    """The candidate that suits *wanted* best, the first of equals, or None.

    A candidate without a platform is the last resort. With *strict* only *wanted*'s own architecture and
    variant will do (an explicit ``--platform``).
    """
    candidates = list(candidates)
    system = wanted.normalised().os
    ranked = runnable(wanted)[:1] if strict else runnable(wanted)
    for pair in ranked:
        for platform, value in candidates:
            if platform is None:
                continue
            have = platform.normalised()
            if have.os == system and (have.architecture, have.variant or "") == pair:
                return value
    if strict:
        return None
    return next((value for platform, value in candidates if platform is None), None)

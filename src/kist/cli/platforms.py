"""`--platform os[/arch[/variant]]`, or an architecture alone, in the form that servers take (containerd: platforms)."""

from __future__ import annotations

import os

SYSTEMS = frozenset(("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux",
                     "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos"))
MACHINES = frozenset(("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle",
                      "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64",
                      "s390", "s390x", "sparc", "sparc64", "wasm"))
SAME = {"macos": "darwin", "i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm",
        "armel": "arm/v6"}
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def normal(text: str) -> str:
    """`arm64` → `linux/arm64`; ValueError as Docker's client words it."""
    parts = text.split("/")
    for part in parts:
        if not part or set(part) - LETTERS:
            raise ValueError(f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                             '"^[A-Za-z0-9_.-]+$": invalid argument')
    known = SAME.get(parts[0].lower(), parts[0].lower())
    if len(parts) == 1:
        if known in SYSTEMS:
            machine = os.uname().machine
            return f"{known}/{SAME.get(machine, machine)}"
        if known.partition("/")[0] in MACHINES:
            return f"linux/{known}"
        raise ValueError(f'"{text}": unknown operating system or architecture: invalid argument')
    if len(parts) > 3:
        raise ValueError(f'"{text}": cannot parse platform specifier: invalid argument')
    machine = parts[1].lower()
    return "/".join([known, SAME.get(machine, machine), *parts[2:]])

"""Device rules on version 2: an eBPF program that the kernel asks at every open and mknod of a device.

    r1 = struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }
         access_type: low 16 bits the kind (1 block, 2 char), high 16 bits the access (1 mknod, 2 read, 4 write)

    load kind → r2, access → r3, major → r4, minor → r5
    for each rule, the last one first (the last that matches decides, as in version 1's list):
        jump to the next rule unless kind, access, major and minor match
        r0 = allow; exit
    r0 = 0; exit
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KIND = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# eBPF opcodes (Documentation/bpf/standardization/instruction-set.rst)
_LDX_W, _ALU_MOV_X, _ALU_MOV_K, _ALU_AND_K, _ALU_RSH_K = 0x61, 0xBC, 0xB4, 0x54, 0x74
_JNE_K, _JNE_X, _EXIT = 0x55, 0x5D, 0x95
_ALU64_MOV_K = 0xB7


def _instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, offset, value)


def program(rules: list[dict[str, Any]]) -> bytes:
    """The instructions for ``linux.resources.devices`` (deny is the default, as for a new container)."""
    code = [
        _instruction(_LDX_W, 2, 1, 0),
        _instruction(_ALU_AND_K, 2, value=0xFFFF),
        _instruction(_LDX_W, 3, 1, 0),
        _instruction(_ALU_RSH_K, 3, value=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in reversed(rules):
        block, final = _rule(rule)
        code += block
        if final:
            return b"".join(code)
    code += [_instruction(_ALU64_MOV_K, 0, value=0), _instruction(_EXIT)]
    return b"".join(code)


def _rule(rule: dict[str, Any]) -> tuple[list[bytes], bool]:
    """The rule's instructions, and whether it matches everything (then nothing after it matters)."""
    access = 0
    for letter in rule.get("access") or "rwm":
        access |= _ACCESS.get(letter, 0)
    tests: list[tuple[int, int, int, int]] = []  # (opcode, register, other register, value)
    kind = rule.get("type") or "a"
    if kind != "a":
        tests.append((_JNE_K, 2, 0, _KIND["c" if kind == "u" else kind]))
    prelude = []
    if access != 7:  # all that is asked for must be in the rule
        prelude = [_instruction(_ALU_MOV_X, 1, 3), _instruction(_ALU_AND_K, 1, value=access)]
        tests.append((_JNE_X, 1, 3, 0))
    for register, number in ((4, rule.get("major")), (5, rule.get("minor"))):
        if number is not None and number >= 0:
            tests.append((_JNE_K, register, 0, number))
    verdict = [_instruction(_ALU64_MOV_K, 0, value=1 if rule.get("allow") else 0), _instruction(_EXIT)]
    jumps = [_instruction(code, dst, src, len(tests) - position - 1 + len(verdict), value)
             for position, (code, dst, src, value) in enumerate(tests)]
    return [*prelude, *jumps, *verdict], not tests

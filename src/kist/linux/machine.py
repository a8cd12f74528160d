"""An assembler for the few instructions that small programs of ours need, on two machines. Pure.

Six registers hold what lives between system calls, named by number; the kernel leaves them alone on both::

    number     0    1    2    3    4    5
    x86-64     rbx  rbp  r12  r13  r14  r15
    AArch64    x19  x20  x21  x22  x23  x24

All arithmetic is 64 bits wide. A number that an instruction can't hold is an error here, not a wrong program.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod

CODE, DATA = 0x400000, 0x10000000  # where the program and its zeroed memory are (multiples of any page size)
HEADER = 0x100  # room for the ELF header, before the code
CONDITIONS = ("eq", "ne", "lt", "ge")


class Machine(ABC):
    """Code with labels. Sub-classes encode; a jump is written when its label is known."""

    elf = 0  # e_machine
    calls: dict[str, int] = {}

    def __init__(self) -> None:
        self.code = bytearray()
        self.labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        assert name not in self.labels, name
        self.labels[name] = len(self.code)

    def data(self, name: str, content: bytes) -> None:
        """Constants behind the code; `address(name)` must come after."""
        self.code += bytes(-len(self.code) % 8)
        self.label(name)
        self.code += content

    def address(self, name: str) -> int:
        return CODE + HEADER + self.labels[name]

    def finish(self) -> bytes:
        for at, name in self._jumps:
            self._link(at, self.labels[name] - at)
        return bytes(self.code)

    def jump(self, label: str) -> None:
        self._jump_here(label, "")

    def jump_if(self, condition: str, register: int, value: int, label: str) -> None:
        """Signed comparison with a number."""
        self._compare(register, value)
        self._jump_here(label, condition)

    def jump_if_same(self, first: int, second: int, label: str) -> None:
        self._compare_registers(first, second)
        self._jump_here(label, "eq")

    def call(self, name: str, *arguments: int | str, result: int | None = None) -> None:
        """A system call; an argument is a number, or a register as "r3"."""
        for at, argument in enumerate(arguments):
            if isinstance(argument, str):
                self._move_argument(at, int(argument[1:]))
            else:
                self._set_argument(at, argument)
        self._call(self.calls[name])
        if result is not None:
            self._take_result(result)

    def _jump_here(self, label: str, condition: str) -> None:
        self._jumps.append((len(self.code), label))
        self._jump(condition)

    # What differs

    @abstractmethod
    def stack(self, register: int) -> None:
        """The stack pointer, as the kernel sets it at the start."""

    @abstractmethod
    def set(self, register: int, value: int) -> None: ...

    @abstractmethod
    def move(self, to: int, source: int) -> None: ...

    @abstractmethod
    def add(self, register: int, value: int) -> None: ...

    @abstractmethod
    def add_register(self, register: int, other: int) -> None: ...

    @abstractmethod
    def shift_left(self, register: int, bits: int) -> None: ...

    @abstractmethod
    def shift_right(self, register: int, bits: int) -> None: ...

    @abstractmethod
    def keep_bits(self, register: int, count: int) -> None:
        """The lowest ones only."""

    @abstractmethod
    def load(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        """1, 4 or 8 bytes, zero-extended."""

    @abstractmethod
    def store(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None: ...

    @abstractmethod
    def _compare(self, register: int, value: int) -> None: ...

    @abstractmethod
    def _compare_registers(self, first: int, second: int) -> None: ...

    @abstractmethod
    def _jump(self, condition: str) -> None: ...

    @abstractmethod
    def _link(self, at: int, distance: int) -> None: ...

    @abstractmethod
    def _set_argument(self, at: int, value: int) -> None: ...

    @abstractmethod
    def _move_argument(self, at: int, register: int) -> None: ...

    @abstractmethod
    def _call(self, number: int) -> None: ...

    @abstractmethod
    def _take_result(self, register: int) -> None: ...


class X86(Machine):
    """Intel SDM vol. 2; system calls: linux/arch/x86/entry/syscalls/syscall_64.tbl."""

    elf = 62
    calls = {"write": 1, "rt_sigprocmask": 14, "ioctl": 16, "getpid": 39, "clone": 56, "execve": 59, "wait4": 61,
             "kill": 62, "setpgid": 109, "rt_sigtimedwait": 128, "prctl": 157, "exit_group": 231, "execveat": 322,
             "statx": 332, "open_tree": 428, "mount_setattr": 442}
    _registers = (3, 5, 12, 13, 14, 15)
    _arguments = (7, 6, 2, 10, 8)  # rdi rsi rdx r10 r8
    _RAX, _RSP = 0, 4
    _jcc = {"eq": 0x84, "ne": 0x85, "lt": 0x8C, "ge": 0x8D}

    def _rex(self, reg: int, rm: int, *, wide: bool = True) -> int:
        return 0x40 | wide << 3 | (reg >> 3) << 2 | rm >> 3

    def _both(self, opcode: int, reg: int, rm: int) -> None:
        """An instruction on two registers: `reg` is the source of a move."""
        self.code += bytes((self._rex(reg, rm), opcode, 0xC0 | (reg & 7) << 3 | rm & 7))

    def _number(self, opcode: int, extension: int, rm: int, value: int) -> None:
        self.code += bytes((self._rex(0, rm), opcode, 0xC0 | extension << 3 | rm & 7)) + struct.pack("<i", value)

    def _shift(self, extension: int, rm: int, bits: int) -> None:
        self.code += bytes((self._rex(0, rm), 0xC1, 0xC0 | extension << 3 | rm & 7, bits))

    def _memory(self, opcode: bytes, register: int, base: int, offset: int, *, wide: bool) -> None:
        reg, rm = self._registers[register], self._registers[base]
        sib = b"\x24" if rm & 7 == 4 else b""
        self.code += bytes((self._rex(reg, rm, wide=wide),)) + opcode + bytes((0x80 | (reg & 7) << 3 | rm & 7,)) + sib
        self.code += struct.pack("<i", offset)

    def stack(self, register: int) -> None:
        self._both(0x89, self._RSP, self._registers[register])

    def set(self, register: int, value: int) -> None:
        self._number(0xC7, 0, self._registers[register], value)

    def move(self, to: int, source: int) -> None:
        self._both(0x89, self._registers[source], self._registers[to])

    def add(self, register: int, value: int) -> None:
        self._number(0x81, 0, self._registers[register], value)

    def add_register(self, register: int, other: int) -> None:
        self._both(0x01, self._registers[other], self._registers[register])

    def shift_left(self, register: int, bits: int) -> None:
        self._shift(4, self._registers[register], bits)

    def shift_right(self, register: int, bits: int) -> None:
        self._shift(5, self._registers[register], bits)

    def keep_bits(self, register: int, count: int) -> None:
        self._number(0x81, 4, self._registers[register], (1 << count) - 1)

    def load(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        self._memory({1: b"\x0f\xb6", 4: b"\x8b", 8: b"\x8b"}[size], register, base, offset, wide=size != 4)

    def store(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        self._memory({1: b"\x88", 4: b"\x89", 8: b"\x89"}[size], register, base, offset, wide=size == 8)

    def _compare(self, register: int, value: int) -> None:
        self._number(0x81, 7, self._registers[register], value)

    def _compare_registers(self, first: int, second: int) -> None:
        self._both(0x39, self._registers[second], self._registers[first])

    def _jump(self, condition: str) -> None:
        self.code += (bytes((0x0F, self._jcc[condition])) if condition else b"\x90\xe9") + bytes(4)

    def _link(self, at: int, distance: int) -> None:
        self.code[at + 2:at + 6] = struct.pack("<i", distance - 6)

    def _set_argument(self, at: int, value: int) -> None:
        self._number(0xC7, 0, self._arguments[at], value)

    def _move_argument(self, at: int, register: int) -> None:
        self._both(0x89, self._registers[register], self._arguments[at])

    def _call(self, number: int) -> None:
        self._number(0xC7, 0, self._RAX, number)
        self.code += b"\x0f\x05"

    def _take_result(self, register: int) -> None:
        self._both(0x89, self._RAX, self._registers[register])


class Arm(Machine):
    """Arm ARM, A64; system calls: linux/include/uapi/asm-generic/unistd.h."""

    elf = 183
    calls = {"ioctl": 29, "write": 64, "exit_group": 94, "kill": 129, "rt_sigprocmask": 135, "rt_sigtimedwait": 137,
             "setpgid": 154, "prctl": 167, "getpid": 172, "clone": 220, "execve": 221, "wait4": 260, "execveat": 281,
             "statx": 291, "open_tree": 428, "mount_setattr": 442}
    _CALL, _SCRATCH, _ZERO = 8, 9, 31
    _conditions = {"eq": 0, "ne": 1, "lt": 11, "ge": 10}

    def _emit(self, word: int) -> None:
        self.code += struct.pack("<I", word)

    def _field(self, value: int, bits: int) -> int:
        assert 0 <= value < 1 << bits, value
        return value

    def _load_number(self, register: int, value: int) -> None:
        if value < 0:
            self._emit(0x92800000 | self._field(~value, 16) << 5 | register)  # movn
            return
        self._emit(0xD2800000 | (value & 0xFFFF) << 5 | register)  # movz
        if value >> 16:
            self._emit(0xF2A00000 | self._field(value >> 16, 16) << 5 | register)  # movk, lsl 16

    def _copy(self, to: int, source: int) -> None:
        self._emit(0xAA0003E0 | source << 16 | to)  # orr to, xzr, source

    def stack(self, register: int) -> None:
        self._emit(0x910003E0 | 19 + register)  # add register, sp, 0

    def set(self, register: int, value: int) -> None:
        self._load_number(19 + register, value)

    def move(self, to: int, source: int) -> None:
        self._copy(19 + to, 19 + source)

    def add(self, register: int, value: int) -> None:
        operation = 0x91000000 if value >= 0 else 0xD1000000
        self._emit(operation | self._field(abs(value), 12) << 10 | (19 + register) << 5 | 19 + register)

    def add_register(self, register: int, other: int) -> None:
        self._emit(0x8B000000 | (19 + other) << 16 | (19 + register) << 5 | 19 + register)

    def shift_left(self, register: int, bits: int) -> None:
        self._emit(0xD3400000 | (64 - bits) << 16 | (63 - bits) << 10 | (19 + register) << 5 | 19 + register)  # ubfm

    def shift_right(self, register: int, bits: int) -> None:
        self._emit(0xD340FC00 | bits << 16 | (19 + register) << 5 | 19 + register)  # ubfm

    def keep_bits(self, register: int, count: int) -> None:
        self._emit(0x92400000 | (count - 1) << 10 | (19 + register) << 5 | 19 + register)  # and, immr 0

    def load(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        self._memory({1: 0x39400000, 4: 0xB9400000, 8: 0xF9400000}[size], register, base, offset, size)

    def store(self, register: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        self._memory({1: 0x39000000, 4: 0xB9000000, 8: 0xF9000000}[size], register, base, offset, size)

    def _memory(self, operation: int, register: int, base: int, offset: int, size: int) -> None:
        assert offset % size == 0, offset
        self._emit(operation | self._field(offset // size, 12) << 10 | (19 + base) << 5 | 19 + register)

    def _compare(self, register: int, value: int) -> None:
        if 0 <= value < 4096:
            self._emit(0xF100001F | value << 10 | (19 + register) << 5)  # subs xzr
        elif -4096 < value < 0:
            self._emit(0xB100001F | -value << 10 | (19 + register) << 5)  # adds xzr
        else:
            self._load_number(self._SCRATCH, value)
            self._emit(0xEB00001F | self._SCRATCH << 16 | (19 + register) << 5)

    def _compare_registers(self, first: int, second: int) -> None:
        self._emit(0xEB00001F | (19 + second) << 16 | (19 + first) << 5)

    def _jump(self, condition: str) -> None:
        self._emit(0x54000000 | self._conditions[condition] if condition else 0x14000000)

    def _link(self, at: int, distance: int) -> None:
        (word,) = struct.unpack_from("<I", self.code, at)
        words = distance >> 2
        word |= words & 0x3FFFFFF if word == 0x14000000 else (words & 0x7FFFF) << 5
        struct.pack_into("<I", self.code, at, word)

    def _set_argument(self, at: int, value: int) -> None:
        self._load_number(at, value)

    def _move_argument(self, at: int, register: int) -> None:
        self._copy(at, 19 + register)

    def _call(self, number: int) -> None:
        self._load_number(self._CALL, number)
        self._emit(0xD4000001)  # svc 0

    def _take_result(self, register: int) -> None:
        self._copy(19 + register, 0)


MACHINES: dict[str, type[Machine]] = {"x86_64": X86, "aarch64": Arm}

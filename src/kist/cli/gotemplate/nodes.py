"""What a template consists of. `str(node)` is how errors show it: as it was written, but for blanks."""

from __future__ import annotations

from kist.cli.gotemplate.printing import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node:
    """`place`: where it begins, in bytes."""

    __slots__ = ("place",)
    kind = "node"
    place: int


class Text(Node):
    __slots__ = ("text",)

    def __init__(self, place: int, text: str) -> None:
        self.place, self.text = place, text


class Operand(Node):
    """A constant, dot, nil, a field, a variable with its fields, or a function's name.

    `kind` says which: bool string number dot nil field variable identifier; `names` are the words of a field
    (.A.B) or of a variable ($x.A).
    """

    __slots__ = ("kind", "names", "text", "value")

    def __init__(self, kind: str, place: int, text: str, value: Any = None) -> None:
        self.kind, self.place, self.text, self.value = kind, place, text, value
        self.names = text[1:].split(".") if kind == "field" else text.split(".") if kind == "variable" else []

    def __str__(self) -> str:
        return self.text


class Chain(Node):
    """(…).A.B"""

    __slots__ = ("names", "node")
    kind = "chain"

    def __init__(self, place: int, node: Node, names: list[str]) -> None:
        self.place, self.node, self.names = place, node, names

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return inner + "".join(f".{name}" for name in self.names)


class Cmd(Node):
    """Operands side by side: a function and its arguments, or one value."""

    __slots__ = ("args",)
    kind = "command"

    def __init__(self, place: int, args: list[Node]) -> None:
        self.place, self.args = place, args

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


class Pipe(Node):
    """Commands, each with the result of the one before as its last argument; and what is declared by it."""

    __slots__ = ("assigns", "commands", "declared")
    kind = "pipe"

    def __init__(self, place: int) -> None:
        self.place = place
        self.assigns = False  # = instead of :=
        self.declared: list[str] = []
        self.commands: list[Cmd] = []

    def __str__(self) -> str:
        names = ", ".join(self.declared) + (" = " if self.assigns else " := ") if self.declared else ""
        return names + " | ".join(map(str, self.commands))


class Action(Node):
    """{{pipe}}"""

    __slots__ = ("pipe",)

    def __init__(self, place: int, pipe: Pipe) -> None:
        self.place, self.pipe = place, pipe


class Branch(Node):
    """{{if}}, {{with}} and {{range}}: `word` says which."""

    __slots__ = ("body", "other", "pipe", "word")

    def __init__(self, word: str, pipe: Pipe, body: list[Node], other: list[Node]) -> None:
        self.place, self.word, self.pipe, self.body, self.other = pipe.place, word, pipe, body, other


class Leave(Node):
    """{{break}} and {{continue}}"""

    __slots__ = ("word",)

    def __init__(self, place: int, word: str) -> None:
        self.place, self.word = place, word


class Call(Node):
    """{{template "name" pipe}}"""

    __slots__ = ("name", "pipe")

    def __init__(self, place: int, name: str, pipe: Pipe | None) -> None:
        self.place, self.name, self.pipe = place, name, pipe

    def __str__(self) -> str:
        return f"{{{{template {quote(self.name)}{f' {self.pipe}' if self.pipe else ''}}}}}"

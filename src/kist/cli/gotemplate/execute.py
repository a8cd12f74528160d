"""Nodes + data → text. The words of every failure, and the place it is told for, are Go's (text/template, exec.go)."""

from __future__ import annotations

from kist.cli.gotemplate.errors import CallError, TemplateError
from kist.cli.gotemplate.functions import FUNCTIONS
from kist.cli.gotemplate.nodes import Action, Branch, Call, Chain, Cmd, Leave, Operand, Pipe, Text
from kist.cli.gotemplate.parser import parse
from kist.cli.gotemplate.printing import quote, shown
from kist.cli.gotemplate.values import (
    ANY,
    INVALID,
    NILABLE,
    Value,
    element,
    entries,
    inside,
    is_true,
    items,
    kind,
    member,
    target,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from kist.cli.gotemplate.functions import Function
    from kist.cli.gotemplate.nodes import Node

MISSING = Value("", None)  # no value comes down the pipeline
DEEPEST = 200  # templates within templates (Go: 100,000, with a stack that grows)
LONGEST = 64 << 20  # characters of one template's output
TYPED = {"bool": "bool", "int": "integer", "string": "string"}


class Template:
    """`Template("{{.ID}}").render(value)`; TemplateError says why not, in either."""

    def __init__(self, text: str, *, name: str = "", functions: dict[str, Function] = FUNCTIONS) -> None:
        self.text, self.name, self.functions = text.encode(), name, functions
        self.made = parse(text, name, functions)

    def render(self, data: Value, *, strict: bool = False) -> str:
        """`strict`: a map's missing entry is an error, not `<no value>`."""
        try:
            return _Run(self, data, strict=strict).run(self.name, data)
        except RecursionError:
            raise TemplateError(f"template: {self.name}: exceeded maximum template depth") from None


class _Leaves(Exception):
    """{{break}} or {{continue}}."""


class _Run:
    def __init__(self, template: Template, data: Value, *, strict: bool) -> None:
        self.template, self.strict = template, strict
        self.name = template.name
        self.variables: list[list[object]] = [["$", data]]
        self.node: Node = Text(0, "")
        self.output: list[str] = []
        self.size = self.depth = 0

    def run(self, name: str, data: Value) -> str:
        try:
            self._walk(data, self.template.made.get(name, []))
        except TemplateError as error:
            error.partial = "".join(self.output)
            raise
        return "".join(self.output)

    def _fail(self, problem: str) -> NoReturn:
        before = self.template.text[:self.node.place]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n") - 1
        raise TemplateError(f"template: {self.template.name}:{line}:{column}: executing {quote(self.name)} at "
                            f"<{self.node}>: {problem}")

    def _write(self, text: str) -> None:
        self.size += len(text)
        if self.size > LONGEST:
            self._fail("the output is too long")
        self.output.append(text)

    # -- statements

    def _walk(self, dot: Value, nodes: list[Node]) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Action):
                value = self._pipe(dot, node.pipe)
                if not node.pipe.declared:
                    self.node = node.pipe
                    self._write(_printed(value))
            elif isinstance(node, Branch):
                mark = len(self.variables)
                (self._range if node.word == "range" else self._if)(dot, node)
                del self.variables[mark:]
            elif isinstance(node, Leave):
                raise _Leaves(node.word)
            elif isinstance(node, Call):
                self._template(dot, node)

    def _if(self, dot: Value, node: Branch) -> None:
        value = self._pipe(dot, node.pipe)
        if is_true(value):
            self._walk(value if node.word == "with" else dot, node.body)
        else:
            self._walk(dot, node.other)

    def _range(self, dot: Value, node: Branch) -> None:
        value = target(self._pipe(dot, node.pipe))
        names = node.pipe.declared
        if value.kind in ("slice", "array"):
            pairs = [(Value("int", number), one) for number, one in enumerate(items(value))]
        elif value.kind == "map":
            pairs = entries(value)
        elif value.kind in ("int", "uint"):
            if len(names) > 1:
                self._fail(f"can't use {shown(value)} to iterate over more than one variable")
            self._count(value, dot, node)
            return
        elif value.kind == "invalid":
            pairs = []
        else:
            self._fail(f"range can't iterate over {shown(value)}")
        for key, one in pairs:
            if not self._turn(key, one, node):
                return
        if not pairs:
            self._walk(dot, node.other)

    def _count(self, value: Value, dot: Value, node: Branch) -> None:
        for number in range(value.data):
            one = Value(value.type, number)
            if not self._turn(one, one, node):
                return
        if value.data <= 0:
            self._walk(dot, node.other)

    def _turn(self, key: Value, one: Value, node: Branch) -> bool:
        """The body for one element; False: it has ended the loop."""
        names = node.pipe.declared
        mark = len(self.variables)
        values = [key, one] if len(names) > 1 else [one]
        for name, value in zip(names, values, strict=False):
            if node.pipe.assigns:
                self._assign(name, value)
            else:
                self.variables.append([name, value])
        try:
            self._walk(one, node.body)
        except _Leaves as leaves:
            return bool(leaves.args[0] == "continue")
        finally:
            del self.variables[mark:]
        return True

    def _template(self, dot: Value, node: Call) -> None:
        self.node = node
        body = self.template.made.get(node.name)
        if body is None:
            self._fail(f"template {quote(node.name)} not defined")
        if self.depth >= DEEPEST:
            self._fail(f"exceeded maximum template depth ({DEEPEST})")
        data = self._pipe(dot, node.pipe) if node.pipe else INVALID
        outer = self.name, self.variables
        self.name, self.variables = node.name, [["$", data]]
        self.depth += 1
        self._walk(data, body)
        self.depth -= 1
        self.name, self.variables = outer

    def _assign(self, name: str, value: Value) -> None:
        for variable in reversed(self.variables):
            if variable[0] == name:
                variable[1] = value
                return
        self._fail(f"undefined variable: {name}")

    # -- pipelines

    def _pipe(self, dot: Value, pipe: Pipe) -> Value:
        self.node = pipe
        value = MISSING
        for command in pipe.commands:
            value = inside(self._command(dot, command, value))
        for name in pipe.declared:
            if pipe.assigns:
                self._assign(name, value)
            elif len(pipe.declared) == 1:
                self.variables.append([name, value])
        return value

    def _command(self, dot: Value, command: Cmd, final: Value) -> Value:
        first, rest = command.args[0], command.args[1:]
        if isinstance(first, Chain):
            return self._chain(dot, first, rest, final)
        if isinstance(first, Operand) and first.kind in ("field", "variable"):
            return self._named(dot, first, rest, final)
        if isinstance(first, Operand) and first.kind == "identifier":
            return self._function(dot, first, command, rest, final)
        if isinstance(first, Pipe):
            self._no_function(command, final)
            return self._pipe(dot, first)
        self.node = first
        self._no_function(command, final)
        if isinstance(first, Operand) and first.kind == "nil":
            self._fail("nil is not a command")
        return self._constant(dot, first)

    def _no_function(self, command: Cmd, final: Value) -> None:
        if len(command.args) > 1 or final is not MISSING:
            self._fail(f"can't give argument to non-function {command.args[0]}")

    def _constant(self, dot: Value, node: Node) -> Value:
        assert isinstance(node, Operand)
        if node.kind == "dot":
            return dot
        if node.kind == "nil":
            self._fail("evaluating nil: nil is not a command")
        data = node.value
        if isinstance(data, int) and not isinstance(data, bool) and not -1 << 63 <= data < 1 << 63:
            self._fail(f"{node.text} overflows int")
        types = {bool: "bool", int: "int", float: "float64", str: "string", complex: "complex128"}
        return Value(types[type(data)], data)

    # -- fields

    def _named(self, dot: Value, node: Operand, rest: Sequence[Node], final: Value) -> Value:
        """A field of dot, or a variable and its fields."""
        self.node = node
        if node.kind == "field":
            return self._fields(dot, dot, node.names, rest, final)
        value = next((one for name, one in reversed(self.variables) if name == node.names[0]), None)
        if not isinstance(value, Value):
            self._fail(f"undefined variable: {node.names[0]}")
        if len(node.names) == 1:
            if rest or final is not MISSING:
                self._fail(f"can't give argument to non-function {node}")
            return value
        return self._fields(dot, value, node.names[1:], rest, final)

    def _chain(self, dot: Value, node: Chain, rest: Sequence[Node], final: Value) -> Value:
        self.node = node
        if isinstance(node.node, Operand) and node.node.kind == "nil":
            self._fail(f"indirection through explicit nil in {node}")
        value = self._argument(dot, "", node.node)
        return self._fields(dot, value, node.names, rest, final)

    def _fields(self, dot: Value, value: Value, names: list[str], rest: Sequence[Node], final: Value) -> Value:
        for name in names[:-1]:
            value = self._field(dot, value, name, (), MISSING)
        return self._field(dot, value, names[-1], rest, final)

    def _field(self, dot: Value, value: Value, name: str, rest: Sequence[Node], final: Value) -> Value:
        if value.kind == "invalid":
            if self.strict:
                self._fail(f"nil data; no entry for key {quote(name)}")
            return INVALID
        found, given = target(value), bool(rest) or final is not MISSING
        if value.type == ANY and (found.data is None):
            self._fail(f"nil pointer evaluating {value.type}.{name}")
        if found.kind == "row" and found.data is not None:
            method = found.data.field(name)
            if method is not None:
                return self._method(dot, method, name, rest, final)
        elif found.kind == "struct":
            one = member(found, name)
            if one is not None:
                if given:
                    self._fail(f"{name} has arguments but cannot be invoked as function")
                return one
        elif found.kind == "map":
            if given:
                self._fail(f"{name} is not a method but has arguments")
            if name in (found.data or ()):
                return Value(element(found.type), found.data[name])
            if self.strict:
                self._fail(f"map has no entry for key {quote(name)}")
            return INVALID
        elif found.kind == "ptr" and (kind(element(found.type)) != "struct" or
                                      member(Value(element(found.type), None), name) is not None):
            self._fail(f"nil pointer evaluating {value.type}.{name}")
        return self._fail(f"can't evaluate field {name} in type {value.type}")

    def _method(self, dot: Value, method: object, name: str, rest: Sequence[Node], final: Value) -> Value:
        """A field of a list's line: only `Label` takes an argument."""
        wanted = int(name == "Label")
        count = len(rest) + (final is not MISSING)
        if count != wanted:
            self._fail(f"wrong number of args for {name}: want {wanted} got {count}")
        arguments = [self._argument(dot, "string", one) for one in rest]
        if final is not MISSING:
            arguments.append(self._fitting(final, "string"))
        assert callable(method)
        found = method(*(one.data for one in arguments))
        assert isinstance(found, Value)
        return found

    # -- functions

    def _function(self, dot: Value, node: Operand, command: Node, rest: Sequence[Node], final: Value) -> Value:
        self.node = node
        name = node.text
        function = self.template.functions[name]
        takes, count = function.takes, len(rest) + (final is not MISSING)
        if function.more:
            if count < len(takes) - 1:
                self._fail(f"wrong number of args for {name}: want at least {len(takes) - 1} got {len(rest)}")
        elif count != len(takes):
            self._fail(f"wrong number of args for {name}: want {len(takes)} got {count}")
        if name in ("and", "or"):
            value = MISSING
            for one in rest:
                value = self._argument(dot, "value", one)
                if is_true(value) == (name == "or"):
                    return value
            return value if final is MISSING else final
        arguments = [self._argument(dot, takes[min(number, len(takes) - 1)], one) for number, one in enumerate(rest)]
        if final is not MISSING:
            arguments.append(self._fitting(final, takes[min(len(rest), len(takes) - 1)]))
        try:
            if name == "call" and rest and inside(arguments[0]).type:
                raise CallError(f"non-function {rest[0]} of type {inside(arguments[0]).type}")
            return function.call(*arguments)
        except CallError as error:
            self.node = command
            self._fail(f"error calling {name}: {error}")

    def _argument(self, dot: Value, wanted: str, node: Node) -> Value:
        """An argument's value, of the type that is wanted ("value": any; "": no matter)."""
        self.node = node
        if isinstance(node, Pipe):
            return self._fitting(self._pipe(dot, node), wanted)
        if isinstance(node, Chain):
            return self._fitting(self._chain(dot, node, (), MISSING), wanted)
        assert isinstance(node, Operand)
        if node.kind in ("field", "variable"):
            return self._fitting(self._named(dot, node, (), MISSING), wanted)
        if node.kind == "identifier":
            return self._fitting(self._function(dot, node, node, (), MISSING), wanted)
        if node.kind == "dot":
            return self._fitting(dot, wanted)
        if node.kind == "nil":
            if wanted == "value":
                return INVALID
            if wanted == ANY or kind(wanted) in NILABLE:
                return Value(wanted, None)
            self._fail(f"cannot assign nil to {wanted}")
        if wanted in ("value", "", ANY):
            return self._constant(dot, node)
        expected = TYPED.get(wanted)
        if expected is None:
            self._fail(f"can't handle {node} for arg of type {wanted}")
        if type(node.value).__name__ != {"integer": "int", "string": "str"}.get(expected, expected):
            self._fail(f"expected {expected}; found {node}")
        return Value(wanted, node.value)

    def _fitting(self, value: Value, wanted: str) -> Value:
        if wanted in ("value", "", ANY):
            return value
        if value.kind == "invalid":
            if kind(wanted) in NILABLE:
                return Value(wanted, None)
            self._fail(f"invalid value; expected {wanted}")
        value = inside(value)
        if value.type == wanted or (value.kind == "slice" == kind(wanted) and value.type == "strslice.StrSlice"):
            return Value(wanted, value.data)
        if value.kind == "ptr" and element(value.type) == wanted:
            if value.data is None:
                self._fail(f"dereference of nil pointer of type {wanted}")
            return Value(wanted, value.data)
        return self._fail(f"wrong type for value; expected {wanted}; got {value.type}")


def _printed(value: Value) -> str:
    """As {{…}} shows it: what a pointer points at, and `<no value>` for none."""
    found = target(value)
    if found.kind == "invalid":
        return "<no value>"
    return shown(found)

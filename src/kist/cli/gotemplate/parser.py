"""Tokens → nodes: the main template and those that {{define}} and {{block}} name."""

from __future__ import annotations

from kist.cli.gotemplate.errors import ParseError
from kist.cli.gotemplate.lexer import tokens
from kist.cli.gotemplate.literals import number, unquote
from kist.cli.gotemplate.nodes import Action, Branch, Call, Chain, Cmd, Leave, Operand, Pipe, Text
from kist.cli.gotemplate.printing import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import NoReturn

    from kist.cli.gotemplate.lexer import Token
    from kist.cli.gotemplate.nodes import Node

OPERANDS = frozenset(("bool", "char", "complex", "number", "dot", "field", "identifier", "nil", "raw", "string",
                      "variable", "("))
CONSTANTS = frozenset(("bool", "dot", "nil", "number", "string"))  # what can't take the value of a pipeline


def parse(text: str, name: str, functions: Container[str]) -> dict[str, list[Node]]:
    """Nodes by template, the main one under `name`. ParseError as Go words it."""
    try:
        return _Parser(text, name, functions).parse()
    except RecursionError:
        raise ParseError(f"template: {name}:1: nested too deeply") from None


class _Parser:
    def __init__(self, text: str, name: str, functions: Container[str]) -> None:
        self.name, self.functions = name, functions
        self.tokens, self.at = tokens(text), 0
        self.seen = self.tokens[0]  # the last token looked at: its line is told
        self.action_line = 0
        self.variables = ["$"]
        self.ranges = 0
        self.made: dict[str, list[Node]] = {}

    # -- tokens

    def _next(self) -> Token:
        self.seen = self.tokens[min(self.at, len(self.tokens) - 1)]
        self.at += 1
        return self.seen

    def _peek(self) -> Token:
        self.seen = self.tokens[min(self.at, len(self.tokens) - 1)]
        return self.seen

    def _peek_solid(self) -> Token:
        while self._peek().kind == "space":
            self.at += 1
        return self._peek()

    def _next_solid(self) -> Token:
        self._peek_solid()
        return self._next()

    def _fail(self, problem: str) -> NoReturn:
        raise ParseError(f"template: {self.name}:{self.seen.line}: {problem}")

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind == "error":
            extra = ""
            if self.action_line and self.action_line != token.line:
                extra = f" in action started at {self.name}:{self.action_line}"
                if token.text.endswith(" action"):
                    extra = extra.removeprefix(" in action")
            self._fail(token.text + extra)
        self._fail(f"unexpected {_shown(token)} in {context}")

    def _expect(self, kinds: tuple[str, ...], context: str) -> Token:
        token = self._next_solid()
        if token.kind not in kinds:
            self._unexpected(token, context)
        return token

    # -- lists

    def parse(self) -> dict[str, list[Node]]:
        nodes: list[Node] = []
        while self._peek().kind != "EOF":
            if self._peek().kind == "{{" and self._is_definition():
                self._definition()
                continue
            node = self._text_or_action()
            if isinstance(node, str):
                self._fail(f"unexpected {{{{{node}}}}}")
            nodes.append(node)
        if nodes or self.name not in self.made:
            self.made[self.name] = nodes
        return self.made

    def _is_definition(self) -> bool:
        start = self.at
        self._next()
        token = self._next_solid()
        if token.kind == "keyword" and token.text == "define":
            return True
        self.at = start
        return False

    def _definition(self) -> None:
        context = "define clause"
        name = unquote(self._expect(("string", "raw"), context).text) or ""
        self._expect(("}}",), context)
        outer, self.variables, ranges, self.ranges = self.variables, ["$"], self.ranges, 0
        self._add(name, self._body(context))
        self.variables, self.ranges = outer, ranges

    def _add(self, name: str, body: list[Node]) -> None:
        empty = all(isinstance(node, Text) and not node.text.strip() for node in body)
        if not empty or name not in self.made:
            self.made[name] = body

    def _body(self, context: str) -> list[Node]:
        """Nodes up to {{end}}."""
        body, end = self._list()
        if end != "end":
            self._fail(f"unexpected {{{{{end}}}}} in {context}")
        return body

    def _list(self) -> tuple[list[Node], str]:
        """Nodes up to {{end}} or {{else}}, and which of the two it is."""
        nodes: list[Node] = []
        while self._peek_solid().kind != "EOF":
            node = self._text_or_action()
            if isinstance(node, str):
                return nodes, node
            nodes.append(node)
        return self._fail("unexpected EOF")

    def _text_or_action(self) -> Node | str:
        token = self._next_solid()
        if token.kind == "text":
            return Text(token.place, token.text)
        if token.kind != "{{":
            self._unexpected(token, "input")
        self.action_line = token.line
        node = self._action()
        self.action_line = 0
        return node

    # -- actions

    def _action(self) -> Node | str:
        token = self._next_solid()
        word = token.text if token.kind == "keyword" else ""
        if word in ("if", "with", "range"):
            return self._branch(word)
        if word in ("break", "continue"):
            self._expect(("}}",), f"{{{{{word}}}}}")
            if not self.ranges:
                self._fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            return Leave(token.place, word)
        if word == "end":
            self._expect(("}}",), word)
            return word
        if word == "else":
            following = self._peek_solid()
            if following.kind != "keyword" or following.text not in ("if", "with"):
                self._expect(("}}",), word)
            return word
        if word == "template":
            return self._call()
        if word == "block":
            return self._block()
        self.at -= 1
        return Action(self._peek().place, self._pipeline("command", "}}"))

    def _branch(self, word: str) -> Branch:
        depth = len(self.variables)
        pipe = self._pipeline(word, "}}")
        self.ranges += word == "range"
        body, end = self._list()
        self.ranges -= word == "range"
        other: list[Node] = []
        if end == "else":
            following = self._peek()
            if following.kind == "keyword" and following.text == word and word != "range":  # {{else if …}}
                self._next()
                other = [self._branch(word)]
            else:
                other, end = self._list()
                if end != "end":
                    self._fail(f"expected end; found {{{{{end}}}}}")
        del self.variables[depth:]
        return Branch(word, pipe, body, other)

    def _template_name(self, token: Token, context: str) -> str:
        name = unquote(token.text) if token.kind in ("string", "raw") else None
        if name is None:
            self._unexpected(token, context)
        return name

    def _call(self) -> Call:
        context = "template clause"
        token = self._next_solid()
        name = self._template_name(token, context)
        if self._next_solid().kind == "}}":
            return Call(token.place, name, None)
        self.at -= 1
        return Call(token.place, name, self._pipeline(context, "}}"))

    def _block(self) -> Call:
        context = "block clause"
        token = self._next_solid()
        name = self._template_name(token, context)
        pipe = self._pipeline(context, "}}")
        outer, self.variables, ranges, self.ranges = self.variables, ["$"], self.ranges, 0
        self._add(name, self._body(context))
        self.variables, self.ranges = outer, ranges
        return Call(token.place, name, pipe)

    # -- pipelines

    def _pipeline(self, context: str, end: str) -> Pipe:
        pipe = Pipe(self._peek_solid().place)
        self._declarations(pipe, context)
        while True:
            token = self._next_solid()
            if token.kind == end:
                break
            if token.kind not in OPERANDS:
                self._unexpected(token, context)
            self.at -= 1
            pipe.commands.append(self._command())
        if not pipe.commands:
            self._fail(f"missing value for {context}")
        for number_, command in enumerate(pipe.commands[1:], 2):
            if command.args[0].kind in CONSTANTS:
                self._fail(f"non executable command in pipeline stage {number_}")
        return pipe

    def _declarations(self, pipe: Pipe, context: str) -> None:
        """`$x :=`, `$x =`, and for a range `$i, $x :=`"""
        while self._peek_solid().kind == "variable":
            start = self.at
            name = self._next().text
            mark = self._peek_solid()
            if mark.kind in (":=", "="):
                self._next()
                pipe.assigns = mark.kind == "="
                pipe.declared.append(name)
                self.variables.append(name)
                return
            if mark.text != "," or mark.kind != "other":
                self.at = start
                return
            self._next()
            pipe.declared.append(name)
            self.variables.append(name)
            if context != "range" or len(pipe.declared) > 1:
                self._fail(f"too many declarations in {context}")
            if self._peek_solid().kind not in ("variable", "}}", ")"):
                self._fail("range can only initialize variables")

    def _command(self) -> Cmd:
        command = Cmd(self._peek_solid().place, [])
        while True:
            self._peek_solid()
            operand = self._operand()
            if operand is not None:
                command.args.append(operand)
            token = self._next()
            if token.kind == "space":
                continue
            if token.kind in ("}}", ")"):
                self.at -= 1
            elif token.kind != "|":
                self._unexpected(token, "operand")
            break
        if not command.args:
            self._fail("empty command")
        return command

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self._peek().kind != "field":
            return node
        place, names = self._peek().place, []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        if node.kind in ("field", "variable"):
            return Operand(node.kind, place, f"{node}.{'.'.join(names)}")
        if node.kind in CONSTANTS:
            self._fail(f"unexpected . after term {quote(str(node))}")
        return Chain(place, node, names)

    def _term(self) -> Node | None:
        token = self._next_solid()
        kind, text = token.kind, token.text
        if kind == "identifier":
            if text not in self.functions:
                self._fail(f"function {quote(text)} not defined")
        elif kind == "variable":
            if text not in self.variables:
                self._fail(f"undefined variable {quote(text)}")
        elif kind == "(":
            return self._pipeline("parenthesized pipeline", ")")
        elif kind in ("char", "number", "complex"):
            try:
                return Operand("number", token.place, text, number(text, kind))
            except ValueError as error:
                self._fail(str(error))
        elif kind in ("string", "raw"):
            value = unquote(text)
            if value is None:
                self._fail("invalid syntax")
            return Operand("string", token.place, text, value)
        elif kind == "bool":
            return Operand("bool", token.place, text, text == "true")
        elif kind not in ("dot", "nil", "field"):
            self.at -= 1
            return None
        return Operand(kind, token.place, text)


def _shown(token: Token) -> str:
    if token.kind == "EOF":
        return "EOF"
    if token.kind in ("keyword", "dot", "nil"):
        return f"<{token.text}>"
    return f"{quote(token.text[:10])}..." if len(token.text) > 10 else quote(token.text)

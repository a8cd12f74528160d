"""Go templates, the part of them that people use with `--format` (text/template's syntax).

Text → tokens → nodes → output::

    {{.State.Status}}   {{json .}}   {{index .Config.Labels "a.b"}}   {{.Names | lower | printf "%-10s"}}
    {{if eq .State "running"}}…{{else if …}}…{{else}}…{{end}}   {{range $k, $v := .Ports}}…{{end}}
    {{with .X}}…{{end}}   {{$x := .Y}}   {{- trimmed -}}   {{/* comment */}}   (index .A 0).B

Data is what JSON has: mappings, lists, text, numbers; or a `Row`, whose fields are made when asked for.
"""

from __future__ import annotations

from kist.cli.template_functions import FUNCTIONS, TemplateError, call, field_of, is_true, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Token = tuple[str, Any]

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
WORD = LETTERS | frozenset("0123456789")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
           "'": "'"}


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Scope:
    """The value of `.`, and variables (`$` is the whole data)."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot, self.variables = dot, variables


class Template:
    """`Template("{{.ID}}").render(data)`"""

    def __init__(self, text: str) -> None:
        self._parts = _split(text)
        self._at = 0
        self._nodes, end = self._block(())
        if end:
            raise TemplateError(f"unexpected {{{{{end[0][1]}}}}}")

    def render(self, data: Any) -> str:
        return "".join(_run(self._nodes, Scope(data, {"$": data})))

    # -- parsing: parts → nodes

    def _block(self, ends: tuple[str, ...]) -> tuple[list[Any], list[Token]]:
        """Nodes up to an action that begins with one of `ends`; that action's tokens."""
        nodes: list[Any] = []
        while self._at < len(self._parts):
            kind, content = self._parts[self._at]
            self._at += 1
            if kind == "text":
                nodes.append(("text", content))
                continue
            word = content[0][1] if content[0][0] == "word" else ""
            if word in ("end", "else"):
                if word not in ends:
                    raise TemplateError(f"unexpected {{{{{word}}}}}")
                return nodes, content
            if word in ("if", "with", "range"):
                nodes.append(self._branch(word, content[1:]))
            elif word in ("break", "continue"):
                nodes.append((word,))
            elif word in ("define", "template", "block"):
                raise TemplateError(f"{{{{{word}}}}} is not supported")
            else:
                nodes.append(("print", *_pipeline(content)))
        if ends:
            raise TemplateError("unexpected EOF")
        return nodes, []

    def _branch(self, word: str, tokens: list[Token]) -> Any:
        names, pipe = _pipeline(tokens)
        body, end = self._block(("end", "else"))
        other: list[Any] = []
        if end[0][1] == "else":
            chained = [n for n, token in enumerate(end) if token[0] == "word"][1:]
            if chained:  # {{else if …}}
                other = [self._branch(end[chained[0]][1], end[chained[0] + 1:])]
            else:
                other, _ = self._block(("end",))
        return word, names, pipe, body, other


# -- lexing: text → parts


def _split(text: str) -> list[tuple[str, Any]]:
    """[("text", …) | ("action", tokens)]"""
    parts: list[tuple[str, Any]] = []
    trim = False
    while text:
        before, mark, rest = text.partition("{{")
        if trim:
            before = before.lstrip()
        if mark and rest[:1] == "-" and rest[1:2].isspace():
            before, rest = before.rstrip(), rest[1:]
        if before:
            parts.append(("text", before))
        if not mark:
            break
        if rest.lstrip().startswith("/*"):
            _, closed, text = rest.partition("*/")
            if not closed:
                raise TemplateError("unclosed comment")
            inside, _, text = text.partition("}}")
            trim = inside.strip() == "-"
            continue
        tokens, text, trim = _tokens(rest)
        if not tokens:
            raise TemplateError("missing value for command")
        parts.append(("action", tokens))
    return parts


def _tokens(text: str) -> tuple[list[Token], str, bool]:
    """The tokens of one action, the text behind it, whether that is to be trimmed."""
    tokens: list[Token] = []
    at = 0
    while True:
        if at >= len(text):
            raise TemplateError("unclosed action")
        letter = text[at]
        if text.startswith("}}", at):
            return tokens, text[at + 2:], False
        if text.startswith("-}}", at) and at and text[at - 1].isspace():
            return tokens, text[at + 3:], True
        if letter.isspace():
            if tokens:
                tokens.append(("space", " "))
            at += 1
        elif letter in "|()=,":
            tokens.append((letter, letter))
            at += 1
        elif text.startswith(":=", at):
            tokens.append(("=", ":="))
            at += 2
        elif letter == '"':
            value, at = _quoted(text, at + 1)
            tokens.append(("value", value))
        elif letter == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise TemplateError("unterminated raw quoted string")
            tokens.append(("value", text[at + 1:end]))
            at = end + 1
        else:
            token, at = _word(text, at)
            tokens.append(token)


def _quoted(text: str, at: int) -> tuple[str, int]:
    value = ""
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            value += ESCAPES.get(text[at], "\\" + text[at])
        else:
            value += text[at]
        at += 1
    if at >= len(text):
        raise TemplateError("unterminated quoted string")
    return value, at + 1


def _word(text: str, at: int) -> tuple[Token, int]:
    """A field (.Name), a variable ($x), a number, or a word."""
    start, letter = at, text[at]
    at += 1
    if letter in LETTERS or letter in ".$":
        while at < len(text) and text[at] in WORD:
            at += 1
        word = text[start:at]
        return (("field", word[1:]) if letter == "." else ("variable" if letter == "$" else "word", word)), at
    if letter.isdigit() or letter in "+-":
        while at < len(text) and (text[at] in WORD or text[at] == "."):
            at += 1
        try:
            return ("value", int(text[start:at], 0)), at
        except ValueError:
            pass
        try:
            return ("value", float(text[start:at])), at
        except ValueError:
            raise TemplateError(f"bad number syntax: {text[start:at]!r}") from None
    raise TemplateError(f"unexpected {letter!r} in operand")


# -- pipelines: tokens → (variables, commands); a command is a list of operands


def _pipeline(tokens: list[Token]) -> tuple[list[str], list[Any]]:
    names: list[str] = []
    plain = [token for token in tokens if token[0] != "space"]
    assign = next((n for n, token in enumerate(plain) if token[0] == "="), None)
    if assign is not None and all(token[0] in ("variable", ",") for token in plain[:assign]):
        names = [token[1] for token in plain[:assign] if token[0] == "variable"]
        tokens = tokens[next(n for n, token in enumerate(tokens) if token[0] == "=") + 1:]
    commands, rest = _commands(tokens)
    if rest:
        raise TemplateError("unexpected right paren")
    return names, commands


def _commands(tokens: list[Token]) -> tuple[list[Any], list[Token]]:
    """Commands up to the end or a closing parenthesis; the tokens from there on."""
    commands: list[Any] = [[]]
    touching = False  # a field right behind an operand belongs to it
    while tokens and tokens[0][0] != ")":
        (kind, value), tokens = tokens[0], tokens[1:]
        command = commands[-1]
        if kind == "|":
            commands.append([])
        elif kind == "field" and touching and command:
            if value:
                command[-1] = ("chain", command[-1], value)
        elif kind == "(":
            inner, tokens = _commands(tokens)
            if not tokens:
                raise TemplateError("unclosed left paren")
            tokens = tokens[1:]
            command.append(("pipe", inner))
        elif kind in ("field", "value", "variable", "word"):
            command.append((kind, value))
        elif kind != "space":
            raise TemplateError(f"unexpected {value!r} in operand")
        touching = kind not in ("space", "|", "value")
    if not all(commands):
        raise TemplateError("missing value for command")
    return commands, tokens


# -- running


def _run(nodes: list[Any], scope: Scope) -> list[str]:
    output: list[str] = []
    for node in nodes:
        if node[0] == "text":
            output.append(node[1])
        elif node[0] == "print":
            value = _evaluate(node[2], scope)
            if node[1]:
                scope.variables[node[1][0]] = value
            else:
                output.append(shown(value))
        elif node[0] == "break":
            raise _Break(output)
        elif node[0] == "continue":
            raise _Continue(output)
        else:
            output += _branch(node, scope)
    return output


def _branch(node: Any, scope: Scope) -> list[str]:
    word, names, pipe, body, other = node
    value = _evaluate(pipe, scope)
    if word == "range":
        return _range(value, names, body, scope) if value else _run(other, scope)
    variables = scope.variables
    if names:
        variables = {**variables, names[0]: value}
    if not is_true(value):
        return _run(other, Scope(scope.dot, variables))
    inner = Scope(value if word == "with" else scope.dot, variables if names else scope.variables)
    return _run(body, inner)


def _range(value: Any, names: list[str], body: list[Any], scope: Scope) -> list[str]:
    if isinstance(value, dict):
        pairs = [(key, value[key]) for key in sorted(value)]
    elif isinstance(value, int) and not isinstance(value, bool):
        pairs = [(number, number) for number in range(value)]
    elif isinstance(value, (list, tuple)):
        pairs = list(enumerate(value))
    else:
        raise TemplateError(f"range can't iterate over {shown(value)}")
    output: list[str] = []
    for key, one in pairs:
        variables = dict(zip(names, (key, one) if len(names) > 1 else (one,), strict=False))
        # Assignments in the body to variables from outside last, as in Go: the mapping is shared but for ours.
        inner = Scope(one, {**scope.variables, **variables})
        try:
            output += _run(body, inner)
        except _Break as stop:
            output += stop.args[0]
            break
        except _Continue as stop:
            output += stop.args[0]
        scope.variables.update({name: inner.variables[name] for name in scope.variables if name not in variables})
    return output


_NOTHING = object()


def _evaluate(commands: list[Any], scope: Scope) -> Any:
    value: Any = _NOTHING
    for command in commands:
        extra = [] if value is _NOTHING else [value]
        head, *rest = command
        if head[0] == "word" and head[1] in ("and", "or"):
            value = _short_circuit(head[1], rest, extra, scope)
        elif head[0] == "word" and head[1] in FUNCTIONS:
            value = call(head[1], [_operand(one, scope) for one in rest] + extra)
        else:
            arguments = [_operand(one, scope) for one in rest] + extra
            value = _operand(head, scope, arguments)
    return value


def _short_circuit(word: str, operands: list[Any], extra: list[Any], scope: Scope) -> Any:
    value: Any = None
    for one in operands:
        value = _operand(one, scope)
        if is_true(value) == (word == "or"):
            return value
    return extra[0] if extra else value


def _operand(node: Any, scope: Scope, arguments: list[Any] | None = None) -> Any:
    kind, value = node[0], node[1]
    if kind == "value":
        found = value
    elif kind == "field":
        if not value:
            found = scope.dot
        else:
            return field_of(scope.dot, value, arguments)
    elif kind == "variable":
        if value not in scope.variables:
            raise TemplateError(f'undefined variable "{value}"')
        found = scope.variables[value]
    elif kind == "chain":
        return field_of(_operand(value, scope), node[2], arguments)
    elif kind == "pipe":
        found = _evaluate(value, scope)
    elif value in ("true", "false", "nil"):
        found = {"true": True, "false": False, "nil": None}[value]
    elif value in FUNCTIONS:
        found = call(value, arguments or [])
        arguments = None
    else:
        raise TemplateError(f'function "{value}" not defined')
    if arguments:
        raise TemplateError(f"can't give argument to non-function {shown(found)}")
    return found

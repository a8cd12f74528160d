"""Text → tokens, each with its place (in bytes, as Go counts).

A token is (kind, text, place, line). Kinds: text, {{, }}, space, field (.Name), dot, variable ($x), identifier,
keyword, string, raw, char, number, complex, bool, nil, (, ), |, =, :=, other (any other sign), error, EOF.
"""

from __future__ import annotations

from kist.cli.gotemplate.printing import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Token(NamedTuple):
        kind: str
        text: str
        place: int
        line: int
else:
    from collections import namedtuple

    Token = namedtuple("Token", "kind text place line")

SPACE = " \t\r\n"
KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"))
ENDS_WORD = frozenset(SPACE + ".,|:)(")
SIGNS = {"=": "=", "|": "|", "(": "(", ")": ")"}


def tokens(text: str) -> list[Token]:
    """All of a template's tokens; the last one is an EOF or an error."""
    return _Lexer(text).run()


def _in_word(letter: str) -> bool:
    return letter == "_" or letter.isalnum()


class _Wrong(Exception):
    pass


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.found: list[Token] = []
        self.depth = 0
        self.start = 0  # of the token under way
        self.ascii = text.isascii()

    def run(self) -> list[Token]:
        try:
            while self._plain():
                self._action()
        except _Wrong as wrong:
            self._add("error", str(wrong), self.start)
        return self.found

    def _add(self, kind: str, text: str, start: int) -> None:
        place = start if self.ascii else len(self.text[:start].encode())
        self.found.append(Token(kind, text, place, self.line))
        if kind != "error":
            self.line += text.count("\n")

    def _peek(self) -> str:
        return self.text[self.at:self.at + 1]

    # -- outside of actions

    def _plain(self) -> bool:
        """Text up to the next action, or to the end (False)."""
        text = self.text
        while True:
            start = self.at
            mark = text.find("{{", start)
            if mark < 0:
                if text[start:]:
                    self._add("text", text[start:], start)
                self._add("EOF", "", len(text))
                return False
            trims = text[mark + 2:mark + 3] == "-" and text[mark + 3:mark + 4] in tuple(SPACE)
            before = text[start:mark].rstrip(SPACE) if trims else text[start:mark]
            if before:
                self._add("text", before, start)
            self.line += text[start:mark].count("\n") - before.count("\n")
            inside = mark + 4 if trims else mark + 2
            if not text.startswith("/*", inside):
                self._add("{{", "{{", mark)
                self.at, self.depth = inside, 0
                return True
            self._comment(inside)

    def _comment(self, inside: int) -> None:
        text = self.text
        end = text.find("*/", inside + 2)
        self.start = inside
        if end < 0:
            raise _Wrong("unclosed comment")
        self.at = end + 2
        width, trims = self._right_mark()
        if not width:
            raise _Wrong("comment ends before closing delimiter")
        self.line += text[inside:self.at].count("\n")
        self.at += width
        if trims:
            self._trim()

    def _right_mark(self) -> tuple[int, bool]:
        """How long the }} here is (0: none), and whether it eats the blanks behind it."""
        text, at = self.text, self.at
        if text[at:at + 1] in tuple(SPACE) and text.startswith("-}}", at + 1):
            return 4, True
        return (2, False) if text.startswith("}}", at) else (0, False)

    def _trim(self) -> None:
        while self._peek() in tuple(SPACE):
            self.line += self._peek() == "\n"
            self.at += 1

    # -- inside of actions

    def _action(self) -> None:
        while True:
            width, trims = self._right_mark()
            self.start = start = self.at
            if width:
                if self.depth:
                    raise _Wrong("unclosed left paren")
                self._add("}}", "}}", start + width - 2)
                self.at += width
                if trims:
                    self._trim()
                return
            self._token(start)

    def _token(self, start: int) -> None:
        letter, following = self._peek(), self.text[start + 1:start + 2]
        self.at += 1
        if not letter:
            raise _Wrong("unclosed action")
        if letter in SPACE:
            self._space(start)
        elif letter in SIGNS:
            self.depth += (letter == "(") - (letter == ")")
            if self.depth < 0:
                raise _Wrong("unexpected right paren")
            self._add(SIGNS[letter], letter, start)
        elif letter == ":":
            if following != "=":
                raise _Wrong("expected :=")
            self.at += 1
            self._add(":=", ":=", start)
        elif letter in "\"'":
            self._quoted(start, letter)
        elif letter == "`":
            end = self.text.find("`", self.at)
            if end < 0:
                raise _Wrong("unterminated raw quoted string")
            self.at = end + 1
            self._add("raw", self.text[start:self.at], start)
        elif letter == "$" or (letter == "." and not ("0" <= following <= "9")):
            self._name(start, "variable" if letter == "$" else "field")
        elif letter in ".+-" or letter.isdigit():
            self.at = start
            self._number(start)
        elif _in_word(letter):
            self._identifier(start)
        elif letter.isascii() and letter.isprintable():
            self._add("other", letter, start)
        else:
            raise _Wrong(f"unrecognized character in action: {_rune(letter)}")

    def _space(self, start: int) -> None:
        while self._peek() in tuple(SPACE):
            if self.text.startswith("-}}", self.at + 1):
                break
            self.at += 1
        self._add("space", self.text[start:self.at], start)

    def _quoted(self, start: int, mark: str) -> None:
        what = "quoted string" if mark == '"' else "character constant"
        while True:
            letter = self._peek()
            self.at += 1
            if letter == "\\" and self._peek() not in ("", "\n"):
                self.at += 1
            elif letter in ("", "\n", "\\"):
                raise _Wrong(f"unterminated {what}")
            elif letter == mark:
                break
        self._add("string" if mark == '"' else "char", self.text[start:self.at], start)

    def _end_of_word(self) -> None:
        letter = self._peek()
        if letter and letter not in ENDS_WORD and not self.text.startswith("}}", self.at):
            raise _Wrong(f"bad character {_rune(letter)}")

    def _ends_here(self) -> bool:
        return not self._peek() or self._peek() in ENDS_WORD or self.text.startswith("}}", self.at)

    def _name(self, start: int, kind: str) -> None:
        if self._ends_here():
            self._add("variable" if kind == "variable" else "dot", self.text[start:self.at], start)
            return
        while _in_word(self._peek()):
            self.at += 1
        self._end_of_word()
        self._add(kind, self.text[start:self.at], start)

    def _identifier(self, start: int) -> None:
        while _in_word(self._peek()):
            self.at += 1
        self._end_of_word()
        word = self.text[start:self.at]
        kind = ("keyword" if word in KEYWORDS else "bool" if word in ("true", "false") else
                "nil" if word == "nil" else "identifier")
        self._add(kind, word, start)

    def _number(self, start: int) -> None:
        kind = "number"
        good = self._scan_number()
        if good and self._peek() in ("+", "-"):
            good, kind = self._scan_number() and self.text[self.at - 1] == "i", "complex"
        if not good:
            raise _Wrong(f"bad number syntax: {quote(self.text[start:self.at])}")
        self._add(kind, self.text[start:self.at], start)

    def _accept(self, letters: str) -> bool:
        found = self._peek() != "" and self._peek() in letters
        self.at += found
        return found

    def _run(self, letters: str) -> None:
        while self._accept(letters):
            pass

    def _scan_number(self) -> bool:
        """Moves over what may be a number; whether nothing of a word follows it."""
        digits, base = "0123456789_", 10
        self._accept("+-")
        if self._accept("0"):
            if self._accept("xX"):
                digits, base = "0123456789abcdefABCDEF_", 16
            elif self._accept("oO"):
                digits, base = "01234567_", 8
            elif self._accept("bB"):
                digits, base = "01_", 2
        self._run(digits)
        if self._accept("."):
            self._run(digits)
        if (base == 10 and self._accept("eE")) or (base == 16 and self._accept("pP")):
            self._accept("+-")
            self._run("0123456789_")
        self._accept("i")
        if self._peek() and _in_word(self._peek()):
            self.at += 1
            return False
        return True


def _rune(letter: str) -> str:
    """`U+007D '}'`"""
    return f"U+{ord(letter):04X}" + (f" '{letter}'" if letter.isprintable() else "")

"""What goes wrong with a template: while it is read, or while it meets the data."""

from __future__ import annotations


class TemplateError(Exception):
    """Told as Go tells it: `template: NAME:LINE:COLUMN: executing "NAME" at <.Foo>: …`."""

    partial = ""  # what was rendered by then


class ParseError(TemplateError):
    """The template itself makes no sense."""


class CallError(Exception):
    """What a function says of its arguments; where it happened is added to it."""

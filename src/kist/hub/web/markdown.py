"""Descriptions: Markdown of strangers as HTML that can do no harm (pure).

CommonMark and tables, no raw HTML. Links lead only to http, https, mailto or within the page, and say that they
were not chosen by us; images become links (a picture from elsewhere would tell elsewhere who reads here).
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

#: Characters. A text of brackets alone costs a second or two of the parser for so many, once.
LONGEST = 64 << 10
LOWEST_HEADING = 3
_SCHEMES = frozenset({"http", "https", "mailto", ""})


def render(text: str) -> Markup:
    """HTML of a description; what is too long is cut."""
    return _rendered(text[:LONGEST])


@lru_cache(maxsize=32)
def _rendered(text: str) -> Markup:
    tokens = _PARSER.parse(text)
    _place_headings(tokens)
    for token in tokens:
        if token.type in ("bullet_list_open", "ordered_list_open", "blockquote_open"):
            token.attrSet("dir", "auto")  # which side its marks are on
    return Markup(_PARSER.renderer.render(tokens, _PARSER.options, {}))


def is_harmless(link: str) -> bool:
    try:
        parts = urlsplit(link.strip())
    except ValueError:
        return False
    # "//host" would leave for another host without showing it.
    return parts.scheme.lower() in _SCHEMES and not (parts.scheme == "" and (parts.netloc or "\\" in link))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").enable("strikethrough")
    parser.validateLink = is_harmless  # type: ignore[method-assign,assignment]
    parser.add_render_rule("link_open", _link_open)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("th_open", _column)
    return parser


def _link_open(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    tokens[index].attrSet("rel", "nofollow ugc noopener")
    return self.renderToken(tokens, index, options, env)


def _image(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    token = tokens[index]
    source, words = str(token.attrGet("src") or ""), token.content or "picture"
    return f'<a href="{escape(source)}" rel="nofollow ugc noopener">{escape(words)}</a>'


def _column(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    tokens[index].attrSet("scope", "col")
    return self.renderToken(tokens, index, options, env)


def _place_headings(tokens: Sequence[Token]) -> None:
    """Below the page's own h2, and no level left out on the way down, whichever ones the author has taken."""
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    used = sorted({token.tag for token in headings})
    before = LOWEST_HEADING - 1
    for token in headings:
        if token.type == "heading_open":
            before = min(LOWEST_HEADING + used.index(token.tag), before + 1, 6)
        token.tag = f"h{before}"


_PARSER = _parser()

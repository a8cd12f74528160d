"""Descriptions: Markdown of strangers as HTML that can do no harm (pure).

CommonMark and tables, no raw HTML. Links lead only to http, https, mailto or within the page, and say that they
were not chosen by us; images become links (a picture from elsewhere would tell elsewhere who reads here).
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

LONGEST = 256 << 10
_SCHEMES = frozenset({"http", "https", "mailto", ""})


def render(text: str) -> Markup:
    """HTML of a description; what is too long is cut."""
    return Markup(_PARSER.render(text[:LONGEST]))


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
    for level in ("heading_open", "heading_close"):
        parser.add_render_rule(level, _heading)
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


def _heading(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    """Two levels down: the page has its own h1 and h2."""
    token = tokens[index]
    token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return self.renderToken(tokens, index, options, env)


_PARSER = _parser()

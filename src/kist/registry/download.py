"""A file from any web server, for `import URL`: followed through redirects, with the registries' proxies and patience.

Nothing of a registry's credentials or certificates goes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import responses
from urllib.parse import urljoin, urlsplit

from kist.errors import EngineFailure, InvalidParameter
from kist.registry.settings import ClientConfig, without_password
from kist.registry.transport import Answer, ConnectionFailed, Transport

MAX_REDIRECTS = 10
MAX_WORDS = 1024  # of an error's body, in bytes
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def normal(source: str) -> str:
    """The URL that ``source`` means; without a scheme it is a host (moby, import.go). Raises InvalidParameter."""
    url = source if "://" in source else f"http://{source}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError as error:
        raise InvalidParameter(f'parse "{without_password(source)}": {error}') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise InvalidParameter(f'Get "{without_password(url)}": unsupported protocol scheme "{parts.scheme}"')
    return url


@contextmanager
def opened(url: str, config: ClientConfig) -> Iterator[Answer]:
    """The answer that has the file, its body unread. Raises KistError, in Docker's words."""
    transport = Transport(ClientConfig(proxies=config.proxies, patience=config.patience, user_agent=config.user_agent))
    try:
        answer = _follow(transport, url)
        with answer:
            if answer.status != 200:
                raise _refused(url, answer)
            yield answer
    finally:
        transport.close()


def _follow(transport: Transport, url: str) -> Answer:
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(transport, url)
        if answer.status not in _REDIRECTS or not answer.header("Location"):
            return answer
        target = normal(urljoin(url, answer.header("Location")))
        answer.discard()
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
            raise EngineFailure(f'Get "{url}": refused to follow a redirect from https to "{target[:200]}"')
        url = target
    raise EngineFailure(f'Get "{url}": stopped after {MAX_REDIRECTS} redirects')


def _ask(transport: Transport, url: str) -> Answer:
    try:
        return transport.exchange("GET", url, {"Accept-Encoding": "identity"})
    except ConnectionFailed as error:
        ping = "{0.scheme}://{0.netloc}/v2/".format(urlsplit(url))  # which is a registry's
        raise EngineFailure(error.message.replace(f'"{ping}"', f'"{without_password(url)}"', 1)) from None


def _refused(url: str, answer: Answer) -> EngineFailure:
    words = b""
    for piece in answer.chunks():
        words += piece
        if len(words) >= MAX_WORDS:
            break
    text = words[:MAX_WORDS].decode("utf-8", "replace").strip()
    shown = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    reason = f"{answer.status} {responses.get(answer.status, '')}".strip()
    return EngineFailure(f"failed to GET {without_password(url)} with status {reason}: {shown}")

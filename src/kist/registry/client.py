"""A registry to talk to: endpoints in order, authorization, redirects.

One `request` is: for each endpoint (mirrors first) → send with what we know → 401? answer the challenge once
→ follow redirects without our authorization → an `Answer`. Whether the next endpoint is asked after a failure
is decided in one place, `ask`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from kist.errors import KistError, Unauthorized, Unavailable
from kist.registry import certificates
from kist.registry.auth import MAX_TOKEN_BODY, Authenticator, login_failed
from kist.registry.credentials import Credentials, Lookup, for_host
from kist.registry.protocol import MAX_ERROR_BODY, Endpoint, Subject, Transient, error_for
from kist.registry.settings import ClientConfig
from kist.registry.transport import Answer, Body, ConnectionFailed, Transport

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
T = TypeVar("T")


class RegistryClient:
    """Speaks with one registry (``host`` as references name it) and its mirrors. Thread-safe.

    ``credentials`` belong to the registry alone, or are a look-up by host.
    """

    def __init__(
        self, host: str, config: ClientConfig | None = None, credentials: Credentials | Lookup | None = None,
        *, transport: Transport | None = None,
    ) -> None:
        self.host = host
        self.config = certificates.completed(config or ClientConfig(), host)
        self.endpoints = self.config.endpoints(host)
        lookup = credentials if callable(credentials) else for_host(host, credentials)
        self._transport = transport or Transport(self.config)
        self._auth = Authenticator(lookup, self._fetch_token)
        self._silent: set[Endpoint] = set()  # TLS endpoints of insecure registries that turned out to speak HTTP

    def close(self) -> None:
        self._transport.close()

    # --- which endpoint -----------------------------------------------------------------------------

    def ask(self, act: Callable[[Endpoint], T], *, first: Endpoint | None = None, mirrors: bool = True) -> T:
        """The first endpoint's result that is not an error; the last error where there is none.

        A mirror that fails in whatever way is passed over. The registry itself is asked without TLS only
        when it could not be reached with TLS and the configuration allows it.
        """
        candidates = [point for point in self.endpoints if mirrors or not point.mirror]
        if first is not None and first in candidates:
            candidates = [first, *(point for point in candidates if point != first)]
        candidates = [point for point in candidates if point not in self._silent] or candidates
        problem: KistError | None = None
        for point in candidates:
            try:
                return act(point)
            except ConnectionFailed as error:
                problem = error
                if self._has_plain_twin(point):
                    self._silent.add(point)
            except KistError as error:
                problem = error
                if not point.mirror:
                    break
        assert problem is not None
        raise problem

    def _has_plain_twin(self, point: Endpoint) -> bool:
        twin = Endpoint(point.base.replace("https://", "http://", 1))
        return point.base.startswith("https://") and not point.mirror and twin in self.endpoints

    # --- one request --------------------------------------------------------------------------------

    def request(
        self, endpoint: Endpoint, method: str, url: str, *, subject: Subject, scope: str,
        headers: dict[str, str] | None = None, body: Body | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Answer:
        """Send to ``endpoint``; every status but the expected ones is raised as an error.

        What may help to send again is sent again: not a stream, which can't be, and not to a place that
        could not be reached.
        """
        repeatable = body is None or isinstance(body, bytes)
        for attempt in count():
            try:
                return self._request_once(endpoint, method, url, subject, scope, headers, body, expect)
            except Transient as problem:
                delay = self._delay(problem, attempt, safe=method in ("GET", "HEAD"))
                if delay is None or not repeatable:
                    raise
                time.sleep(delay)
        raise AssertionError("unreachable")

    def _delay(self, problem: Transient, attempt: int, *, safe: bool) -> float | None:
        """Seconds until the request is sent again, None to give up."""
        patience = self.config.patience
        if attempt >= patience.repeats or (problem.wait or 0) > patience.longest_wait:
            return None
        if isinstance(problem, ConnectionFailed):
            # Mostly a kept connection that the other side has closed meanwhile: a fresh one will do.
            return 0.0 if safe and problem.reached else None
        return problem.wait if problem.wait is not None else min(patience.pause * 5 * 2**attempt, 10.0)

    def _request_once(
        self, endpoint: Endpoint, method: str, url: str, subject: Subject, scope: str,
        headers: dict[str, str] | None, body: Body | None, expect: tuple[int, ...],
    ) -> Answer:
        answer = self._authorized(endpoint, method, self._located(endpoint, url), headers or {}, body, scope)
        if method in ("GET", "HEAD"):
            answer = self._redirected(endpoint, answer, method, headers or {}, scope)
        if answer.status in expect:
            return answer
        with answer:
            said = b"" if method == "HEAD" else answer.read(MAX_ERROR_BODY)
            raise error_for(answer.status, said, subject, retry_after=answer.header("Retry-After"))

    def _located(self, endpoint: Endpoint, url: str) -> str:
        """Mirrors are told whose content is meant (containerd's ``ns`` parameter): one may serve many."""
        if not endpoint.mirror:
            return url
        return url + ("&" if "?" in url else "?") + urlencode({"ns": self.host})

    def _authorized(
        self, endpoint: Endpoint, method: str, url: str, headers: dict[str, str], body: Body | None, scope: str
    ) -> Answer:
        if origin(url) != endpoint.origin:  # an upload's location on another host
            return self._send(method, url, headers, body, None)
        sent = self._auth.header(endpoint, scope)
        answer = self._send(method, url, headers, body, sent)
        if answer.status != 401:
            return answer
        challenge = answer.header("WWW-Authenticate")
        with answer:
            said = answer.read(MAX_ERROR_BODY) if method != "HEAD" else b""
        if body is not None and not isinstance(body, bytes):
            # A stream can't be sent twice; push signs in before it sends one.
            raise error_for(401, said, Subject("", action="push"))
        try:
            header = self._auth.answer(endpoint, scope, challenge, sent)
        except Unauthorized:
            if sent is None and not challenge:
                raise error_for(401, said, Subject("", action="push")) from None
            raise
        # A second 401 is an answer like any other: a registry can't make us go round in circles.
        return self._send(method, url, headers, body, header)

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: Body | None, authorization: str | None
    ) -> Answer:
        extra = {"Authorization": authorization} if authorization else {}
        return self._transport.exchange(method, url, {**headers, **extra}, body)

    def _redirected(
        self, endpoint: Endpoint, answer: Answer, method: str, headers: dict[str, str], scope: str
    ) -> Answer:
        """Follow redirects; only the endpoint itself ever sees our authorization again."""
        for _ in range(MAX_REDIRECTS):
            if answer.status not in _REDIRECTS:
                return answer
            target = urljoin(answer.url, answer.header("Location"))
            answer.discard()
            check_redirect(endpoint, answer.url, target)
            own = origin(target) == endpoint.origin
            answer = self._send(method, target, headers, None, self._auth.header(endpoint, scope) if own else None)
        answer.close()
        raise Unavailable(f'Get "{answer.url}": stopped after {MAX_REDIRECTS} redirects')

    def _fetch_token(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
        with self._transport.exchange(method, url, headers, body) as answer:
            if answer.status == 200:
                return answer.read(MAX_TOKEN_BODY)
            said = answer.read(MAX_ERROR_BODY)
            raise login_failed(error_for(answer.status, said, Subject(self.host, action="login"),
                                         retry_after=answer.header("Retry-After")))


def origin(url: str) -> str:
    """scheme://host:port of a URL, as it is written (an explicit default port counts as another origin)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def check_redirect(endpoint: Endpoint, source: str, target: str) -> None:
    """Refuses what would take content off TLS, or send our own credentials in a URL."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise Unavailable(f'Get "{source}": invalid redirect to "{target[:200]}"')
    if parts.scheme == "http" and endpoint.base.startswith("https://"):
        raise Unavailable(f'Get "{source}": refused to follow a redirect from https to "{target[:200]}"')

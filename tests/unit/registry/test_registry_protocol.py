from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.errors import EngineFailure, Forbidden, InvalidParameter, KistError, NotFound, Unauthorized, Unavailable
from kist.registry.protocol import (
    Challenge,
    Endpoint,
    Subject,
    content_range_start,
    error_for,
    mirror_endpoint,
    next_link,
    parse_challenges,
    parse_errors,
    uploaded_bytes,
)

BUSYBOX = Subject("busybox", "busybox:nope")


def test_urls() -> None:
    point = Endpoint("https://example.com:8443/prefix")
    assert point.manifest("a/b", "v1") == "https://example.com:8443/prefix/v2/a/b/manifests/v1"
    assert point.blob("a", "sha256:00") == "https://example.com:8443/prefix/v2/a/blobs/sha256:00"
    assert point.uploads("a", mount="sha256:00", from_="b/c").endswith("/uploads/?mount=sha256:00&from=b/c")
    assert point.tags("a", n=5, last="x y") == "https://example.com:8443/prefix/v2/a/tags/list?n=5&last=x+y"
    assert point.origin == "https://example.com:8443"
    assert point.host == "example.com:8443"


@pytest.mark.parametrize("url", ["example.com", "ftp://x", "http://", "http://a b", "http://u:p@host", "http://h/?q"])
def test_a_mirror_without_a_scheme_or_with_more_than_a_place_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid mirror"):
        mirror_endpoint(url)


@pytest.mark.parametrize(("header", "expected"), [
    ('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
     [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})]),
    ("Basic realm=plain", [Challenge("basic", {"realm": "plain"})]),
    ('Basic realm="a \\"b\\" c", Bearer realm="x"',
     [Challenge("basic", {"realm": 'a "b" c'}), Challenge("bearer", {"realm": "x"})]),
    ("Negotiate", [Challenge("negotiate")]),
    ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
    ("", []),
    ("=====", []),
    ('Bearer realm="never closed', [Challenge("bearer")]),
])
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header)[: len(expected)] == expected
    assert len(parse_challenges(header)) >= len(expected)


@given(st.text(max_size=200))
def test_no_header_breaks_the_parsers(text: str) -> None:
    parse_challenges(text)
    content_range_start(text)
    uploaded_bytes(text)
    next_link(text)


@given(st.binary(max_size=200))
def test_no_body_breaks_the_error_parser(body: bytes) -> None:
    assert isinstance(parse_errors(body), list)


@pytest.mark.parametrize(("header", "start"), [("bytes 5-9/10", 5), ("bytes 5-9/*", 5), ("5-9/10", None), ("", None)])
def test_content_range(header: str, start: int | None) -> None:
    assert content_range_start(header) == start


@pytest.mark.parametrize(("header", "count"), [("0-0", 0), ("0-9", 10), ("bytes=0-9", 10), ("5-9", None), ("x", None)])
def test_uploaded_bytes(header: str, count: int | None) -> None:
    assert uploaded_bytes(header) == count


def body(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(("status", "content", "subject", "kind", "words"), [
    (404, body("MANIFEST_UNKNOWN", "manifest unknown"), BUSYBOX, NotFound,
     "manifest for busybox:nope not found: manifest unknown: manifest unknown"),
    (404, b"<html>", BUSYBOX, NotFound, "manifest for busybox:nope not found: manifest unknown"),
    (401, body("UNAUTHORIZED", "authentication required"), BUSYBOX, NotFound,
     "pull access denied for busybox, repository does not exist or may require 'docker login': "
     "unauthorized: authentication required"),
    (404, body("NAME_UNKNOWN", "repository name not known to registry"), BUSYBOX, NotFound,
     "pull access denied for busybox, repository does not exist or may require 'docker login'"),
    (403, b"", Subject("x", action="push"), Forbidden, "denied: requested access to the resource is denied"),
    (401, b"", Subject("x", action="push"), Unauthorized, "denied: requested access to the resource is denied"),
    (500, b"", BUSYBOX, Unavailable, "received unexpected HTTP status: 500 Internal Server Error"),
    (418, b"", BUSYBOX, EngineFailure, "received unexpected HTTP status: 418 I'm a Teapot"),
    (429, body("TOOMANYREQUESTS", "You have reached your limit."), BUSYBOX, Unavailable,
     "toomanyrequests: You have reached your limit. (it asks to wait 7 s). Signing in"),
])
def test_error_words(status: int, content: bytes, subject: Subject, kind: type[KistError], words: str) -> None:
    error = error_for(status, content, subject, retry_after="7" if status == 429 else "")
    assert isinstance(error, kind)
    assert error.status == kind.status
    assert words in error.message


def test_foreign_words_are_one_bounded_printable_line() -> None:
    message = error_for(500, body("X", "a\x1b[31m\nb" + "c" * 9999), BUSYBOX).message
    assert message.isprintable()
    assert len(message) < 600

"""References are read as Docker's distribution/reference reads them, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.errors import InvalidParameter
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.reference import InvalidReference, Reference

SHA = "sha256:" + "0123456789abcdef" * 4

FULL_AND_FAMILIAR = [
    ("busybox", "docker.io/library/busybox", "busybox"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("library/busybox", "docker.io/library/busybox", "busybox"),
    ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
    ("docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
    ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
    ("index.docker.io/team/app", "docker.io/team/app", "team/app"),
    ("team/app", "docker.io/team/app", "team/app"),
    ("library/a/b", "docker.io/library/a/b", "library/a/b"),
    ("localhost/app", "localhost/app", "localhost/app"),
    ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
    ("quay.io/team/app", "quay.io/team/app", "quay.io/team/app"),
    ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
    ("Uppercase/app", "Uppercase/app", "Uppercase/app"),
    ("127.0.0.1/app__x/y-z", "127.0.0.1/app__x/y-z", "127.0.0.1/app__x/y-z"),
    (f"busybox@{SHA}", f"docker.io/library/busybox@{SHA}", f"busybox@{SHA}"),
    (f"busybox:1@{SHA}", f"docker.io/library/busybox:1@{SHA}", f"busybox:1@{SHA}"),
    ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ("x.y/" + "a" * 255, "x.y/" + "a" * 255, "x.y/" + "a" * 255),
]


@pytest.mark.parametrize(("typed", "full", "familiar"), FULL_AND_FAMILIAR)
def test_full_and_familiar_forms(typed: str, full: str, familiar: str) -> None:
    found = reference.parse(typed)
    assert (str(found), found.familiar) == (full, familiar)


@pytest.mark.parametrize(("typed", "words"), [
    ("", "invalid reference format"),
    (":", "invalid reference format"),
    ("a b", "invalid reference format"),
    ("-x", "invalid reference format"),
    ("busybox:", "invalid reference format"),
    ("busybox:-x", "invalid reference format"),
    ("busybox@sha256:12", "invalid reference format"),
    ("a//b", "invalid reference format"),
    ("a/b/", "invalid reference format"),
    ("/a", "invalid reference format"),
    ("a..b", "invalid reference format"),
    ("a___b", "invalid reference format"),
    ("http://example.com/a", "invalid reference format"),
    ("../etc/passwd", "invalid reference format"),
    ("busybox\n", "invalid reference format"),
    ("büsybox", "invalid reference format"),
    ("x:" + "t" * 129, "invalid reference format"),
    ("x" * 2000, "invalid reference format"),
    ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
    ("team/App:x", "invalid reference format: repository name (team/App) must be lowercase"),
    ("x.y/" + "a" * 256, "repository name must not be more than 255 characters"),
    ("0123456789abcdef" * 4, "cannot specify 64-byte hexadecimal strings"),
    ("busybox@sha256:" + "a" * 40, "invalid checksum digest length"),
    ("busybox@md5:" + "a" * 32, "unsupported digest algorithm"),
    ("busybox@sha256:" + "A" * 64, "invalid checksum digest format"),
])
def test_refused_with_dockers_words(typed: str, words: str) -> None:
    with pytest.raises(Exception) as caught:
        reference.parse(typed)
    assert words in str(caught.value)
    assert getattr(caught.value, "status", None) == 400


def test_default_tag_only_where_nothing_was_given() -> None:
    assert str(reference.parse_tagged("busybox")) == "docker.io/library/busybox:latest"
    assert reference.parse_tagged(f"busybox@{SHA}").tag is None
    assert reference.parse_tagged("busybox:x").tag == "x"


def test_ids_and_references_are_told_apart() -> None:
    assert reference.parse_any("a" * 64) == "sha256:" + "a" * 64
    assert reference.parse_any(SHA) == SHA
    assert isinstance(reference.parse_any("busybox"), Reference)


def test_full_form_needs_its_domain() -> None:
    with pytest.raises(InvalidReference, match="canonical"):
        reference.parse_full("busybox")
    with pytest.raises(InvalidReference, match="at least one component"):
        reference.parse_full("")
    with pytest.raises(InvalidReference, match="must be lowercase"):
        reference.parse_full("docker.io/library/BUSYBOX")


def test_changing_tag_and_digest() -> None:
    found = reference.parse("busybox:1")
    assert found.with_tag("2").familiar == "busybox:2"
    assert found.with_digest(Digest(SHA)).familiar == f"busybox@{SHA}"
    with pytest.raises(InvalidReference, match="invalid tag format"):
        found.with_tag("a/b")


_part = st.from_regex(r"[a-z0-9]+(?:(?:[._]|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)


@given(st.lists(_part, min_size=1, max_size=4), st.none() | st.from_regex(r"[\w][\w.-]{0,20}", fullmatch=True))
def test_parsing_the_full_or_familiar_form_again_changes_nothing(parts: list[str], tag: str | None) -> None:
    typed = "/".join(parts) + (f":{tag}" if tag and tag.isascii() else "")
    try:
        found = reference.parse(typed)
    except InvalidReference:
        return
    assert reference.parse(str(found)) == found
    assert reference.parse_full(str(found)) == found
    assert reference.parse(found.familiar) == found


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        found = reference.parse(text)
    except InvalidParameter:
        return
    assert ".." not in str(found)
    assert str(found).isascii()
    assert not set(str(found)) & set(" \n\t\\")

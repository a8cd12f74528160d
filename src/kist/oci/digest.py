"""Digests: ``algorithm:encoded``, the name of a content (image-spec 1.1, descriptor.md#digests).

A digest is a plain ``str`` at run time (it travels through JSON and SQLite); the type `Digest` says
that it has been through `parse` and so is safe as a file name, too.

    sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b
    ^algorithm ^encoded: lower-case hexadecimal, of the algorithm's length
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NewType

from kist.errors import InvalidParameter

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Digest = NewType("Digest", str)

#: Registered algorithms that Kist verifies, and the length of their hexadecimal form.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}

_FORM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_HEX = re.compile(r"[a-f0-9]+", re.ASCII)
_LONGEST = 256


class InvalidDigest(InvalidParameter):
    """Not a digest, or one of an algorithm that can't be verified here."""


def parse(text: str) -> Digest:
    """*text* as a digest; raises `InvalidDigest` with the words of Docker's go-digest."""
    if len(text) > _LONGEST or not _FORM.fullmatch(text):
        raise InvalidDigest("invalid checksum digest format")
    name, encoded = text.split(":", 1)
    if name not in ALGORITHMS:
        raise InvalidDigest("unsupported digest algorithm")
    if len(encoded) != ALGORITHMS[name]:
        raise InvalidDigest("invalid checksum digest length")
    if not _HEX.fullmatch(encoded):
        raise InvalidDigest("invalid checksum digest format")
    return Digest(text)


def is_digest(text: str) -> bool:
    """Whether *text* is a digest that `parse` takes."""
    try:
        parse(text)
    except InvalidDigest:
        return False
    return True


def algorithm(digest: Digest) -> str:
    """``sha256`` of ``sha256:…``."""
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """The hexadecimal part."""
    return digest.partition(":")[2]


def short(digest: Digest) -> str:
    """The first twelve hexadecimal digits, as lists show them."""
    return encoded(digest)[:12]


def hasher(digest: Digest) -> Hash:
    """A fresh hash of the digest's own algorithm."""
    return hashlib.new(algorithm(digest))


def from_hash(hashed: Hash) -> Digest:
    """The digest of what went into *hashed*."""
    return Digest(f"{hashed.name}:{hashed.hexdigest()}")


def of(data: bytes | bytearray | memoryview, name: str = "sha256") -> Digest:
    """The digest of *data*."""
    return from_hash(hashlib.new(name, data))


def verify(data: bytes | bytearray | memoryview, digest: Digest) -> bool:
    """Whether *data* is what *digest* names."""
    return of(data, algorithm(digest)) == digest

"""Image references: what a user types, and the full name it stands for.

    localhost:5000/team/app:1.2@sha256:6c3c…
    └─ domain ────┘└ path ─┘└tag┘└ digest ─┘

Grammar, defaults, limits and error words are those of Docker's distribution/reference (v0.6):
``busybox`` is ``docker.io/library/busybox:latest``; the *familiar* form goes back the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kist.errors import InvalidParameter
from kist.oci import digest as digests
from kist.oci.digest import Digest

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
MAX_PATH = 255

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH}))(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_TAG_ONLY = re.compile(_TAG, re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
#: Longer than any valid reference: domain (a DNS name and port), path, tag and sha512 digest.
_LONGEST = 1024


class InvalidReference(InvalidParameter):
    """What was typed can't be the name of an image."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A full name; `tag` and `digest` are what was given, both may be missing."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """``docker.io/library/busybox``: the repository."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """``busybox``: the repository, as short as it can be typed."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(OFFICIAL)
        return rest if "/" not in rest else self.path

    def _with_suffix(self, name: str) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{name}{tag}{digest}"

    def __str__(self) -> str:
        return self._with_suffix(self.name)

    @property
    def familiar(self) -> str:
        """``busybox:latest``: as short as it can be typed, with the tag and digest it has."""
        return self._with_suffix(self.familiar_name)

    @property
    def name_only(self) -> bool:
        """Neither a tag nor a digest was given."""
        return self.tag is None and self.digest is None

    def with_default_tag(self) -> Reference:
        """With ``:latest`` where there is neither a tag nor a digest."""
        return replace(self, tag=DEFAULT_TAG) if self.name_only else self

    def with_tag(self, tag: str) -> Reference:
        """The same repository under another tag, without a digest."""
        return replace(self, tag=validate_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository by digest, without a tag."""
        return replace(self, tag=None, digest=digest)


def parse(text: str) -> Reference:
    """*text* with Docker's defaults for domain and namespace; no tag is added (see `parse_tagged`).

    Raises `InvalidReference`.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReference(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidReference(f"invalid reference format: repository name ({remote}) must be lowercase")
    return parse_full(f"{domain}/{rest}")


def parse_tagged(text: str) -> Reference:
    """As `parse`, and ``:latest`` where there is neither a tag nor a digest."""
    return parse(text).with_default_tag()


def parse_full(text: str) -> Reference:
    """*text* as a reference whose domain is spelled out (``docker.io/library/busybox:latest``)."""
    found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        if not text:
            raise InvalidReference("repository name must have at least one component")
        if len(text) <= _LONGEST and _REFERENCE.fullmatch(text.lower()):
            raise InvalidReference("repository name must be lowercase")
        raise InvalidReference("invalid reference format")
    domain, path, tag, digest = found.group("domain", "path", "tag", "digest")
    if len(path) > MAX_PATH:
        raise InvalidReference(f"repository name must not be more than {MAX_PATH} characters")
    if domain is None:
        raise InvalidReference("repository name must be canonical")
    return Reference(domain, path, tag, digests.parse(digest) if digest else None)


def parse_any(text: str) -> Reference | Digest:
    """An image's id (64 hexadecimal digits, with or without ``sha256:``) or a reference."""
    if _IDENTIFIER.fullmatch(text):
        return Digest(f"sha256:{text}")
    if digests.is_digest(text):
        return Digest(text)
    return parse(text)


def familiar(full: str) -> str:
    """``busybox:latest`` of ``docker.io/library/busybox:latest``."""
    return parse_full(full).familiar


def validate_tag(tag: str) -> str:
    """*tag* itself if it is one; raises `InvalidReference`."""
    if not _TAG_ONLY.fullmatch(tag):
        raise InvalidReference("invalid tag format")
    return tag


def _split_domain(text: str) -> tuple[str, str]:
    """Domain and rest, by the rule that a first part with a dot, colon or capitals is a host."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, OFFICIAL + text
    if first == LEGACY_DOMAIN:
        domain, remote = DEFAULT_DOMAIN, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remote:
        remote = OFFICIAL + remote
    return domain, remote

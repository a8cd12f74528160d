"""What may be the name of a repository, a tag or an upload (pure; distribution-spec 1.1, #pulling-manifests)."""

from __future__ import annotations

import re

from kist.hub.errors import HubError
from kist.oci import digest as digests
from kist.oci.digest import Digest

MAX_NAME = 255
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_UPLOAD = re.compile(r"[0-9a-f]{32}", re.ASCII)


def is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and all(_COMPONENT.fullmatch(part) for part in text.split("/"))


def repository_name(text: str) -> str:
    if not is_name(text):
        raise HubError("NAME_INVALID", detail={"name": text[:300]})
    return text


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def digest(text: str) -> Digest:
    try:
        return digests.parse(text)
    except digests.InvalidDigest as error:
        raise HubError("DIGEST_INVALID", str(error), detail={"digest": text[:300]}) from None


def tag_or_digest(text: str) -> str | Digest:
    """A reference as it stands in a URL; ``isinstance`` can't tell a Digest, but a colon can."""
    if ":" in text:
        return digest(text)
    if not is_tag(text):
        raise HubError("TAG_INVALID", detail={"tag": text[:300]})
    return text


def is_upload(text: str) -> bool:
    return _UPLOAD.fullmatch(text) is not None

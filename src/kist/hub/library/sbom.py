"""Bills of materials: what is in an image, as an SPDX 2.3 document (JSON), the same bytes for the same image.

https://spdx.github.io/spdx-spec/v2.3/ — the document's own name space is made of the image's digest, and its date
is the image's: nothing in it says when it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

MEDIA_TYPE = "application/spdx+json"
_NAMESPACE = "https://kist.invalid/sbom"  # RFC 2606: a name, not a place


class Package(msgspec.Struct, frozen=True):
    """One piece of software. ``license`` is an SPDX expression; empty where nobody states one."""

    name: str
    version: str
    license: str = ""
    architecture: str = ""
    source: str = ""
    supplier: str = ""
    homepage: str = ""
    summary: str = ""

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec, type deb; empty for what is no Debian package."""
        if not self.architecture:
            return ""
        return f"pkg:deb/debian/{quote(self.name)}@{quote(self.version, safe='')}?arch={self.architecture}"


def installed(status: bytes, *, whole: bool = True) -> list[Package]:
    """The packages of a `dpkg/status` file (``whole=False``: one control paragraph), by name."""
    found = []
    for paragraph in re.split(rb"\n\n+", status.strip()):
        fields = _fields(paragraph.decode())
        if whole and "installed" not in fields.get("Status", "").split():
            continue
        found.append(Package(
            fields["Package"], fields["Version"], architecture=fields.get("Architecture", ""),
            source=fields.get("Source", fields["Package"]), supplier=fields.get("Maintainer", ""),
            homepage=fields.get("Homepage", ""), summary=fields.get("Description", "")))
    return sorted(found, key=lambda one: (one.name, one.architecture))


def _fields(paragraph: str) -> dict[str, str]:
    """First lines only: what continues (deb822) is of no use here."""
    rows = (line.partition(":") for line in paragraph.splitlines() if not line.startswith((" ", "\t")))
    return {key: value.strip() for key, _, value in rows}


def document(name: str, digest: str, packages: Iterable[Package], epoch: int) -> bytes:
    """The SPDX document of the image ``name`` with the manifest ``digest``."""
    rows = list(dict.fromkeys(packages))
    image = {
        "SPDXID": "SPDXRef-Image", "name": name, "versionInfo": digest, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION", "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest.partition(":")[2]}],
    }
    value = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": f"{_NAMESPACE}/{quote(name)}/{digest.replace(':', '/')}",
        "creationInfo": {"created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: kist-hub-library"]},
        "packages": [image, *(_package(one) for one in rows)],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
            *(_relation("SPDXRef-Image", "CONTAINS", _id(one)) for one in rows)],
    }
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _package(one: Package) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "SPDXID": _id(one), "name": one.name, "versionInfo": one.version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": one.license or "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }
    texts = {"summary": one.summary, "homepage": one.homepage,
             "supplier": f"Organization: {one.supplier}" if one.supplier else "",
             "sourceInfo": f"built from the Debian source package {one.source}" if one.source else ""}
    entry |= {key: text for key, text in texts.items() if text}
    if one.purl:
        entry["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                  "referenceLocator": one.purl}]
    return entry


def _id(one: Package) -> str:
    """Letters, digits, dots and dashes only (SPDX 2.3, 7.2)."""
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{one.name}-{one.architecture or 'any'}")

"""A Hub's data folder with all that is hard to show: long names, many tags, deep images, odd files, other scripts.

`fill(data)` writes it; `PAGES` names what to look at. The map of networks comes from `Engine`, which answers as an
engine with some containers does.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import TracebackType
from typing import Any

from kist.engine.network import drawing
from kist.hub.accounts import Accounts, Level
from kist.hub.app import open_content
from kist.hub.content import Content
from kist.oci.digest import Digest

OCI = "application/vnd.oci.image."
INDEX = OCI + "index.v1+json"
PASSWORD = "correct horse battery"
LONG = "acme/" + "-".join(["a-name-that-nobody-would-type-by-hand"] * 6)[:200].rstrip("-")
HEBREW = "ספרייה קטנה לניסויים"
TODAY = date.today()
ABOUT = f"""\
A small key-value store, kept in memory.

## How to run it

```
kist run -d --name cabin -p 6379:6379 -v cabin-data:/data library/cabin --save 60 1 --loglevel warning --maxmemory 256mb
```

Then, from another container:

```
kist run -it --rm --network container:cabin library/cabin cabin-cli
```

## Settings

| Variable | What it does | When it is left out |
|---|---|---|
| `CABIN_PASSWORD` | asked of every client | no password |
| `CABIN_PASSWORD_FILE` | the same, from a file, so that it is in no environment | – |
| `CABIN_MAXMEMORY_POLICY` | what goes first when memory is full: `allkeys-lru`, or `noeviction` | `noeviction` |

### Where data goes

1. `/data` is a volume: what is written there outlives the container.
2. Files of other people are given to the user `cabin` at the first start,
   - unless they are his already,
   - unless `CABIN_KEEP_OWNER` is set.

> Without a volume the data is gone with the container. ~~Nobody~~ Few want that.

See [the manual](https://example.com/cabin), or the picture ![of how it hangs together](https://example.com/cabin.png).
{HEBREW}, 日本語の説明, Übergrößenträger, and a word without a break: {"pneumono" * 20}.
"""


# --- images -----------------------------------------------------------------------------------------------------


def tar(files: dict[str, bytes | str]) -> bytes:
    """A compressed layer; a value that is a string is where a symbolic link leads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                archive.addfile(member)
            else:
                member.size, member.mode = len(data), 0o755 if "bin/" in name else 0o644
                archive.addfile(member, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


class Shelf:
    """Puts images into a repository."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def blob(self, name: str, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        digest = Digest("sha256:" + hashlib.sha256(data).hexdigest())
        if self.content.metadata.linked_size(name, digest) is None:
            upload = self.content.begin_upload(name)
            self.content.append(upload, 0, [data])
            self.content.finish_upload(name, upload, digest)
        return {"mediaType": kind, "digest": digest, "size": len(data), **more}

    def manifest(self, name: str, reference: str, kind: str = OCI + "manifest.v1+json", **body: Any) -> dict[str, Any]:
        """Puts it; an empty ``reference`` is its digest."""
        data = json.dumps({"schemaVersion": 2, "mediaType": kind, **body}).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.content.put_manifest(name, reference or digest, data, kind)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def image(
        self,
        name: str,
        reference: str,
        layers: list[bytes],
        history: list[str] | None = None,
        architecture: str = "amd64",
        **run: Any,
    ) -> dict[str, Any]:
        """``history``: a line for each layer, and lines that begin with ``#`` for steps without one."""
        steps = [
            {"created": "2026-01-02T03:04:05Z", "created_by": line.lstrip("#"), "empty_layer": line.startswith("#")}
            for line in history or []
        ]
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": run,
            "history": steps,
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest() for layer in layers],
            },
        }
        return self.manifest(
            name,
            reference,
            config=self.blob(name, json.dumps(config).encode(), OCI + "config.v1+json"),
            layers=[self.blob(name, layer, OCI + "layer.v1.tar+gzip") for layer in layers],
        )

    def attach(self, name: str, subject: dict[str, Any], kind: str, files: dict[str, bytes]) -> None:
        empty = self.blob(name, b"{}", "application/vnd.oci.empty.v1+json")
        entries = [
            self.blob(name, data, kind, annotations={"org.opencontainers.image.title": title})
            for title, data in files.items()
        ]
        self.manifest(name, "", artifactType=kind, config=empty, layers=entries, subject=subject)


def noise(length: int, seed: str) -> bytes:
    """Bytes that don't compress, the same each time."""
    return hashlib.shake_256(seed.encode()).digest(length)


def fill(data: Path) -> None:
    """Write the gallery into a Hub's data folder."""
    content = open_content(data)
    try:
        shelf = Shelf(content)
        for put in (_cabin, _multi, _many_tags, _many_layers, _odd_files, _small_ones):
            put(shelf)
        _people(content)
    finally:
        content.metadata.close()


def _cabin(shelf: Shelf) -> None:
    """As an image should be: versions, a description, bills and signatures, pulls."""
    name = "library/cabin"
    base = tar(
        {
            "bin/busybox": noise(900_000, "busybox"),
            "bin/sh": "busybox",
            "etc/passwd": b"root:x:0:0\n" * 40,
            "usr/share/doc/cabin/copyright": b"Copyright\n" * 900,
        }
    )
    for at, (tag, also) in enumerate((("7.0.15", ("7.0",)), ("7.2.4", ("7.2", "7", "latest")))):
        program = tar(
            {
                f"usr/lib/libcabin.so.{at}": noise(300_000, f"lib{at}"),
                "usr/bin/cabin-server": noise(700_000, f"s{at}"),
                "usr/bin/cabin-cli": noise(250_000, f"c{at}"),
                "etc/passwd": b"root:x:0:0\ncabin:x:999:999\n",
            }
        )
        tidy = tar({"usr/share/doc/cabin/.wh.copyright": b"", "usr/bin/cabin-server": noise(690_000, f"stripped{at}")})
        made = shelf.image(
            name,
            tag,
            [base, program, tidy],
            [
                "/bin/sh -c #(nop) ADD file:8a3ad in / ",
                "#/bin/sh -c #(nop)  ENV CABIN_VERSION=" + tag,
                f"/bin/sh -c apt-get update && apt-get install -y --no-install-recommends cabin-server={tag}-1 && "
                "rm -rf /var/lib/apt/lists/* && groupadd -r -g 999 cabin && useradd -r -g cabin -u 999 cabin",
                "RUN /bin/sh -c strip /usr/bin/cabin-server && rm /usr/share/doc/cabin/copyright # buildkit",
                "#VOLUME [/data]",
                '#ENTRYPOINT ["docker-entrypoint.sh"]',
                '#CMD ["cabin-server"]',
            ],
            Entrypoint=["docker-entrypoint.sh"],
            Cmd=["cabin-server"],
            WorkingDir="/data",
            Volumes={"/data": {}},
            ExposedPorts={"6379/tcp": {}},
            StopSignal="SIGTERM",
            Env=[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                f"CABIN_VERSION={tag}",
                f"CABIN_DOWNLOAD_URL=https://example.com/releases/{'very-long-path/' * 8}cabin-{tag}.tar.gz",
            ],
            Labels={"org.opencontainers.image.source": "https://example.com/cabin", "maintainer": "cabin@example.com"},
        )
        for other in also:
            shelf.content.put_manifest(name, other, shelf.content.manifest(name, tag).content, made["mediaType"])
    shelf.attach(name, made, "application/spdx+json", {"cabin.spdx.json": b"{}" * 9000})
    shelf.attach(name, made, "application/vnd.dev.cosign.artifact.sig.v1+json", {"": b"signature"})
    shelf.attach(
        name,
        made,
        "application/vnd.example.report.v1+json",
        {
            "a report with a very long name " * 3 + ".html": b"<script>alert(1)</script>",
            HEBREW: b"x",
            "scan.sarif": b"{}" * 300,
        },
    )
    shelf.content.metadata.describe(name, summary="A small key-value store, kept in memory", description=ABOUT)
    shelf.content.metadata.add_pulls(
        {
            (name, (TODAY - timedelta(days=back)).isoformat()): (back * 37) % 61 + 60 - back
            for back in range(60)
            if back % 9
        }
    )


def _multi(shelf: Shelf) -> None:
    name = "demo/multi"
    entries: list[dict[str, Any]] = []
    for architecture, variant in (
        ("amd64", ""),
        ("arm64", "v8"),
        ("arm", "v7"),
        ("ppc64le", ""),
        ("riscv64", ""),
        ("s390x", ""),
    ):
        layer = tar({"bin/app": noise(40_000 + 7000 * len(entries), architecture)})
        made = shelf.image(name, "", [layer], ["COPY app /bin/app"], architecture, Cmd=["/bin/app"])
        entries.append(
            {
                **made,
                "platform": {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})},
            }
        )
        proof = shelf.manifest(
            name,
            "",
            config=shelf.blob(name, b'{"architecture":"unknown","os":"unknown"}', OCI + "config.v1+json"),
            layers=[shelf.blob(name, b'{"of":"%s"}' % architecture.encode(), "application/vnd.in-toto+json")],
        )
        entries.append(
            {
                **proof,
                "platform": {"architecture": "unknown", "os": "unknown"},
                "annotations": {
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": made["digest"],
                },
            }
        )
    for tag in ("latest", "nightly"):
        shelf.manifest(name, tag, INDEX, manifests=entries)
    shelf.content.metadata.describe(name, summary="One image for six architectures, with attestations of BuildKit")


def _many_tags(shelf: Shelf) -> None:
    name = "demo/many-tags"
    made = shelf.image(name, "latest", [tar({"etc/motd": b"hello"})])
    body = shelf.content.manifest(name, "latest").content
    with shelf.content.metadata.transaction():
        for number in range(500):
            shelf.content.put_manifest(
                name, f"1.{number // 20}.{number % 20}-build.{number * 7919}", body, made["mediaType"]
            )
        shelf.content.put_manifest(name, "0" + "a-tag-of-128-characters." * 5 + "0000000", body, made["mediaType"])
    shelf.content.metadata.describe(name, summary="More tags than fit on a page: 500 of them")


def _many_layers(shelf: Shelf) -> None:
    name = "demo/many-layers"
    layers = [
        tar({f"srv/{number:02}/data": noise(1 << (number % 15), str(number)), "srv/again": noise(2000, f"a{number}")})
        for number in range(60)
    ]
    lines = [
        f"RUN /bin/sh -c step-{number} --with {'--one-more-option=yes ' * (number * number % 23)}# buildkit"
        for number in range(60)
    ]
    shelf.image(name, "latest", layers, lines, Labels={f"org.example.label-{at}": "value " * at for at in range(12)})
    shelf.content.metadata.describe(name, summary="Sixty layers, one over the other")


def _odd_files(shelf: Shelf) -> None:
    name = "demo/odd-files"
    odd: dict[str, bytes | str] = {
        "../../etc/../../escape": b"a" * 700,
        "<script>alert(1)</script>": b"b" * 600,
        "new\nline\ttab\x1b[31mred": b"c" * 500,
        "invoice\u202egpj.exe": b"d" * 400,
        f"home/{HEBREW}/{HEBREW}.txt": b"e" * 300,
        "日本語/ファイル名.txt": b"f" * 200,
        "very/" + "long-folder-name/" * 20 + "file": b"g" * 100,
        "w" * 250: b"h" * 90,
        " lead and trail ": b"i" * 80,
        "link": "../../../../" + "far/" * 40 + "away",
        "big": noise(3_000_000, "big"),
        "e\u0301" * 12: b"k" * 60,
        "'\"&amp;": b"l" * 50,
        "javascript:alert(1)": b"m" * 40,
    }
    layers = [tar(odd), tar({"big": noise(2_500_000, "bigger"), ".wh.link": b""})]
    shelf.image(
        name,
        "latest",
        layers,
        ["COPY <b>odd</b> /", "RUN echo \x1b[31m\u202edlrow"],
        Cmd=["\u202etxt.sh", "<img src=x onerror=alert(1)>"],
        Labels={"<b>label</b>": "\u202egpj.exe\nsecond line"},
    )
    broken = shelf.image(name, "broken", [tar({"lost": noise(100, "lost")})])
    lost = json.loads(shelf.content.manifest(name, broken["digest"]).content)["layers"][0]["digest"]
    shelf.content.metadata.keep_listing(lost, b"what a bad disk has left of it")
    shelf.content.metadata.describe(
        name,
        summary="<b>Names</b> \u202eof files that bite",
        description=(
            "# Top\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) <svg onload=alert(1)> "
            "![s](data:image/svg+xml,<svg/onload=alert(1)>)"
        ),
    )


def _small_ones(shelf: Shelf) -> None:
    layer = tar({"etc/motd": b"hello"})
    shelf.image(LONG, "latest", [layer], Cmd=["true"])
    shelf.content.metadata.describe(
        LONG,
        summary="A repository whose name takes two hundred characters, and a summary that is "
        "about as long as one may be: two hundred characters of words that say little, but each",
    )
    shelf.image("demo/rtl", "latest", [layer])
    shelf.content.metadata.describe("demo/rtl", summary=HEBREW + " – " + HEBREW, description=f"{HEBREW}\n\n- {HEBREW}")
    shelf.image("demo/untagged", "", [layer])
    shelf.attach("demo/chart", shelf.image("demo/chart", "", [layer]), "text/plain", {"a": b"b"})
    shelf.manifest(
        "demo/chart",
        "1.0.0",
        artifactType="application/vnd.cncf.helm.config.v1+json",
        config=shelf.blob("demo/chart", b"{}", "application/vnd.cncf.helm.config.v1+json"),
        layers=[shelf.blob("demo/chart", b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    )
    shelf.image("acme/secret", "latest", [layer])
    shelf.content.metadata.describe("acme/secret", summary="Not for everybody", private=True, immutable=True)
    for number in range(24):
        shelf.image(f"team/service-{number:02}", "latest", [layer])
    shelf.image("scratch-pad", "latest", [])


def _people(content: Content) -> None:
    people = Accounts(content.metadata)
    people.add_user("alice", PASSWORD, admin=True)
    for name in ("bob", "a-user-with-a-name-of-39-characters-0000"[:39]):
        people.add_user(name, PASSWORD)
    people.add_organisation("acme")
    people.set_member("acme", "alice", Level.ADMIN)
    people.set_member("acme", "a-user-with-a-name-of-39-characters-0000"[:39], Level.WRITE)
    people.grant("acme/secret", "bob", Level.READ)
    alice = people.user("alice")
    people.add_token(alice, "laptop", Level.WRITE)
    people.add_token(
        alice,
        "a label that tells the whole story of a build machine, of 100 characters: " + "w" * 26,
        Level.READ,
        life=90 * 86400.0,
    )


# --- an engine for the map of networks -----------------------------------------------------------------------------


class Engine:
    """Answers on a unix socket with a map (the answer's form: docs/networking.md)."""

    def __init__(self, path: Path, found: dict[str, Any], picture: bytes = b"") -> None:
        picture = picture or drawing.svg(found).encode()

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = picture if self.path.endswith("?format=svg") else json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingUnixStreamServer(str(path), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""kist manifest create, annotate, push, rm: one name for the images of several platforms, put together here.

A list is a file of the user's until it is pushed::

    manifests/HOST_REPOSITORY-TAG.json   {"Name", "Manifests": [{"Ref", "Descriptor": {…, "platform"}, "Raw": base64}]}
"""

from __future__ import annotations

import json
import os

from kist.cli.credentials import for_image
from kist.cli.names import full_name, is_name, with_tag
from kist.cli.parser import CliError, Command
from kist.cli.session import parsing
from kist.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session
    from kist.cli.settings import Settings

    JSON = dict[str, Any]

INDEXES = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# What Go knows (cli/command/manifest, validOSArches); those that Kist's users could meet.
PLATFORMS = {
    "linux": ("386", "amd64", "arm", "arm64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"),
    "windows": ("386", "amd64", "arm64"), "darwin": ("386", "amd64", "arm", "arm64"), "dragonfly": ("amd64",),
    "freebsd": ("386", "amd64", "arm"), "netbsd": ("386", "amd64", "arm"), "openbsd": ("386", "amd64", "arm"),
    "plan9": ("386", "amd64"), "solaris": ("amd64",)}
INSECURE: Option = ("insecure", "", "", "Understood; which registries may be asked without TLS is the server's "
                    "configuration")


def load(settings: Settings, name: str) -> list[JSON] | None:
    """The manifests of a list that was made here; None if there is none of that name."""
    try:
        with open(_path(settings, name), "rb") as file:
            document = json.load(file)
            return list(document["Manifests"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise CliError(f"{_path(settings, name)}: not a list of manifests") from None


def index(manifests: list[JSON]) -> tuple[str, str]:
    """The list as it is pushed, byte by byte what Docker's client makes of it; and its media type."""
    kind = INDEXES[bool(manifests) and manifests[0]["Descriptor"]["mediaType"] == OCI_MANIFEST]
    entries = []
    for one in manifests:
        found = one["Descriptor"]
        platform = found.get("platform") or {}
        fields = ("architecture", "os", "os.version", "os.features", "variant")
        entries.append({"mediaType": found["mediaType"], "size": found["size"], "digest": found["digest"],
                        "platform": {name: platform[name] for name in fields if platform.get(name)}})
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    return json.dumps(document, indent=3, ensure_ascii=False), kind


def _create(args: Arguments, session: Session) -> int:
    name = args.words[0]
    have = _known(session, name)
    if have is not None and not args.flag("amend"):
        raise CliError("refusing to amend an existing manifest list with no --amend flag")
    manifests = {one["Ref"]: one for one in have or ()}
    for image in args.words[1:]:
        found = _fetch(session, image)
        manifests[found["Ref"]] = found
    _keep(session.settings, name, list(manifests.values()))
    session.out(f"Created manifest list {full_name(with_tag(name))}")
    return 0


def _annotate(args: Arguments, session: Session) -> int:
    name, image = args.words
    manifests = _known(session, name) or []
    found = next((one for one in manifests if one["Ref"] == with_tag(image)), None)
    if found is None:
        raise CliError(f"manifest for image {image} does not exist in {name}")
    platform = found["Descriptor"].setdefault("platform", {})
    for option, field in (("os", "os"), ("arch", "architecture"), ("variant", "variant"), ("os-version", "os.version")):
        if args.text(option):
            platform[field] = args.text(option)
    for feature in args.list("os-features"):
        if feature not in platform.setdefault("os.features", []):
            platform["os.features"].append(feature)
    if platform.get("architecture") not in PLATFORMS.get(platform.get("os", ""), ()):
        raise CliError("manifest entry for image has unsupported os/arch combination: "
                       f"{args.text('os')}/{args.text('arch')}")
    _keep(session.settings, name, manifests)
    return 0


def _push(args: Arguments, session: Session) -> int:
    name = args.words[0]
    manifests = _known(session, name)
    if not manifests:
        raise _missing(name)
    for one in manifests:
        platform = one["Descriptor"].get("platform") or {}
        if not (platform.get("os") and platform.get("architecture")):
            raise CliError(f"manifest {one['Ref']} must have an OS and Architecture to be pushed to a registry")
    content, kind = index(manifests)
    told = session.client.images.push_manifests(with_tag(name), content, kind, [one["Ref"] for one in manifests],
                                                auth=for_image(session, name))
    for one in told["Pushed"]:
        session.out(f"Pushed ref {one['Ref']} with digest: {one['Digest']}")
    session.out(told["Digest"])
    if args.flag("purge"):
        os.unlink(_path(session.settings, name))
    return 0


def _rm(args: Arguments, session: Session) -> int:
    problems = []
    for name in args.words:
        _check(name)
        try:
            os.unlink(_path(session.settings, name))
        except FileNotFoundError:
            problems.append(f"No such manifest: {full_name(with_tag(name))}")
    if problems:
        raise CliError("\n".join(problems))
    return 0


def _fetch(session: Session, image: str) -> JSON:
    _check(image)
    try:
        told = session.client.images.manifest(image, auth=for_image(session, image))
    except NotFound:
        raise CliError(f"no such manifest: {full_name(with_tag(image))}") from None
    if told["Descriptor"]["mediaType"] in INDEXES:
        raise CliError(f"{full_name(with_tag(image))} is a manifest list")
    return {"Ref": with_tag(image), "Descriptor": told["Descriptor"], "Raw": told["Raw"]}


def _known(session: Session, name: str) -> list[JSON] | None:
    _check(name, f"error parsing name for manifest list {name}: ")
    return load(session.settings, name)


def _check(name: str, before: str = "") -> None:
    if is_name(name):
        return
    small = is_name(name.lower())
    path = full_name(with_tag(name)).partition("/")[2].rpartition(":")[0]
    raise CliError(f"{before}invalid reference format" + f": repository name ({path}) must be lowercase" * small)


def _missing(name: str) -> CliError:
    return CliError(f"No such manifest: {full_name(with_tag(name))}")


def _path(settings: Settings, name: str) -> str:
    """References have no underscore beside a slash or a colon, so no two of them have one file."""
    file = full_name(with_tag(name)).replace("/", "_").replace(":", "-")
    return f"{os.path.dirname(settings.auth_file)}/manifests/{file}.json"


def _keep(settings: Settings, name: str, manifests: list[JSON]) -> None:
    path = _path(settings, name)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    half = f"{path}.{os.getpid()}"
    with open(half, "w") as file:
        json.dump({"Name": full_name(with_tag(name)), "Manifests": manifests}, file, indent=4)
    os.replace(half, path)


CREATE = Command(
    "Create a local manifest list for annotating and pushing to a registry", "MANIFEST_LIST MANIFEST [MANIFEST...]",
    parsing(_create), arity=(2, None), options=(
        ("amend", "a", "", "Add to the list that is there"), INSECURE), requests=("KistManifest",))
ANNOTATE = Command(
    "Add additional information to a local image manifest", "[OPTIONS] MANIFEST_LIST MANIFEST", parsing(_annotate),
    arity=(2, 2), options=(
        ("arch", "", "string", "Set its architecture"),
        ("os", "", "string", "Set its operating system"),
        ("os-features", "", "strings", "Add features of the operating system"),
        ("os-version", "", "string", "Set the operating system's version"),
        ("variant", "", "string", "Set the architecture's variant")))
PUSH = Command(
    "Push a manifest list to a repository", "[OPTIONS] MANIFEST_LIST", parsing(_push), arity=(1, 1), options=(
        INSECURE, ("purge", "p", "", "Remove the local list then")), requests=("KistManifestPush",))
RM = Command(
    "Delete one or more manifest lists from local storage", "MANIFEST_LIST [MANIFEST_LIST...]", parsing(_rm),
    arity=(1, None))

"""Images as `image ls`, `image inspect` and `history` show them (Engine API v1.51). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from kist.engine import times
from kist.engine.selection import Filters, has_label
from kist.errors import InvalidParameter, NotFound
from kist.oci import reference
from kist.oci.image import ImageConfig, RunConfig
from kist.oci.platform import Platform
from kist.store.images import Image

Json = dict[str, Any]


def summary(image: Image, config: ImageConfig, *, containers: int, shared: int = -1) -> Json:
    """`shared`: bytes that other images have in common with it; -1 when nobody asked."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Created": image.created_seconds,
        "Size": image.size,
        "SharedSize": shared,
        "VirtualSize": image.size,
        "Labels": config.run.labels or {},
        "Containers": containers,
    }


def inspect(image: Image, config: ImageConfig, *, layers: list[str], mirror: str, descriptor: Json) -> Json:
    """`layers`: directories, lowest first; `mirror`: where it came from if that was not the registry itself."""
    platform = config.platform
    found: Json = {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": "",
        "Comment": config.comment or "",
        "Created": image.created,
        "DockerVersion": config.docker_version or "",
        "Author": config.author or "",
        "Config": run_config(config.run),
        "Architecture": platform.architecture,
        "Os": platform.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": graph(layers)},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": times.rfc3339(int(image.stored * 1e9))},
        "Descriptor": descriptor,
    }
    if platform.variant:
        found["Variant"] = platform.variant
    if mirror:
        found["Metadata"]["Mirror"] = mirror
    return found


def graph(layers: list[str], upper: str = "", work: str = "") -> Json:
    """GraphDriver.Data of overlay2; an image's upper directory is its uppermost layer."""
    stack = list(reversed(layers))
    if upper:
        return {"LowerDir": ":".join(stack), "UpperDir": upper, "WorkDir": work}
    if not stack:
        return {}
    lower = {"LowerDir": ":".join(stack[1:])} if stack[1:] else {}
    return {**lower, "UpperDir": stack[0]}


def run_config(config: RunConfig) -> Json:
    """The image's Config with the fields that clients expect to find."""
    given = msgspec.to_builtins(config)
    plain: Json = {"Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
                   "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None,
                   "Cmd": None, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None,
                   "Labels": None}
    return {**plain, **{name: value for name, value in given.items() if value is not None}}


def history(image: Image, config: ImageConfig, sizes: list[int]) -> list[Json]:
    """Newest first; `sizes` of the layers, lowest first. Steps without a layer have size 0."""
    rows: list[Json] = []
    left = list(sizes)
    steps = config.history or []
    for step in steps:
        size = 0 if step.empty_layer or not left else left.pop(0)
        rows.append({"Id": "<missing>", "Created": _seconds(step.created), "CreatedBy": step.created_by or "",
                     "Tags": None, "Size": size, "Comment": step.comment or ""})
    rows += [{"Id": "<missing>", "Created": image.created_seconds, "CreatedBy": "", "Tags": None, "Size": size,
              "Comment": ""} for size in left]
    rows.reverse()
    if rows:
        rows[0]["Id"], rows[0]["Tags"] = image.id, image.tags or None
    return rows


def by_name(image: Image, filters: Filters) -> Image | None:
    """The image with those of its names that ``reference`` asks for; None if there is none."""
    patterns = filters.get("reference")
    if not patterns:
        return image
    names = [name for name in image.names
             if any(_reference(reference.familiar(name), pattern) for pattern in patterns)]
    return replace(image, names=names) if names else None


def matches(image: Image, config: ImageConfig, filters: Filters) -> bool:
    """`image ls --filter`: dangling, label, until."""
    labels: Mapping[str, str] = config.run.labels or {}
    for name, values in filters.items():
        if not values:
            continue
        # An image that still has a digest for a name is shown either way (moby, daemon/images/images.go).
        if name == "dangling" and (image.tags if _truth(values) else not image.names):
            return False
        if name == "label" and not all(has_label(labels, value) for value in values):
            return False
        if name == "label!" and any(has_label(labels, value) for value in values):
            return False
        if name == "until" and not all(image.created_seconds < until(value) for value in values):
            return False
    return True


def check_platform(name: str, config: ImageConfig, wanted: Platform) -> None:
    """Raises NotFound for an image of another platform than *wanted*, in Docker's words."""
    have = config.platform.normalised()
    if (have.os, have.architecture, have.variant) != (wanted.os, wanted.architecture, wanted.variant):
        raise NotFound(f"image with reference {name} was found but its platform ({have}) does not match the specified "
                       f"platform ({wanted})")


def _reference(familiar: str, pattern: str) -> bool:
    """moby: path.Match of the familiar name, with the tag and without."""
    name = reference.parse(familiar)
    return any(fnmatchcase(text, pattern) for text in (familiar, name.familiar_name, str(name), name.name)) \
        or (":" not in pattern and fnmatchcase(name.familiar_name, pattern))


def _truth(values: Any) -> bool:
    value = next(iter(values)).lower()
    if value not in ("true", "false", "1", "0"):
        raise InvalidParameter(f"invalid filter 'dangling=[{value}]'")
    return value in ("true", "1")


def until(value: str) -> float:
    """Seconds since the epoch that the filter ``until`` means."""
    try:
        return times.parse_until(value) / 1e9
    except ValueError:
        raise InvalidParameter(f'failed to parse value as time or duration: "{value}"') from None


def _seconds(created: str | None) -> int:
    try:
        return times.parse_rfc3339(created or "") // 1_000_000_000
    except ValueError:
        return 0

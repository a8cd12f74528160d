"""Image names as users write them."""

from __future__ import annotations


def with_tag(image: str) -> str:
    """The name with its tag: `latest` unless it has one, or a digest."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def is_name(image: str) -> bool:
    """Whether it is a name as references are made of (distribution, reference.go), with or without tag or digest."""
    import re

    part = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    host = r"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?/"
    ends = r"(?::\w[\w.-]{0,127})?(?:@[\w+.-]+:[0-9a-fA-F]{32,})?"
    return re.fullmatch(f"(?:{host})?{part}(?:/{part})*{ends}", image, re.ASCII) is not None


def registry_of(image: str) -> str:
    """The registry's host: the first part when it looks like one, else Docker's."""
    first, mark, _ = image.partition("/")
    return first if mark and ("." in first or ":" in first or first == "localhost") else "docker.io"


def full_name(image: str) -> str:
    """With the registry and the folder that a short name leaves out."""
    if registry_of(image) != "docker.io" or image.startswith("docker.io/"):
        return image
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"

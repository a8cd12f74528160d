"""Image names as users write them."""

from __future__ import annotations


def with_tag(image: str) -> str:
    """The name with its tag: `latest` unless it has one, or a digest."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def registry_of(image: str) -> str:
    """The registry's host: the first part when it looks like one, else Docker's."""
    first, mark, _ = image.partition("/")
    return first if mark and ("." in first or ":" in first or first == "localhost") else "docker.io"

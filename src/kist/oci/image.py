"""The image configuration: what to run, on which layers (image-spec 1.1, config.md).

The inner section ``config`` keeps Docker's field names when encoded, so that `msgspec.to_builtins` of it
is what the Engine API answers. What isn't modelled stays in the bytes, which the store keeps unchanged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kist.errors import EngineFailure
from kist.oci import digest as digests
from kist.oci.chainid import chain_id
from kist.oci.digest import Digest
from kist.oci.platform import Platform

#: The largest configuration that is read, in bytes (containerd's bound).
MAX_CONFIG = 8 << 20
#: overlayfs stacks at most this many layers (Linux, OVL_MAX_STACK).
MAX_LAYERS = 500


class InvalidImage(EngineFailure):
    """The image's configuration is broken or hostile."""


class Healthcheck(msgspec.Struct, rename="pascal", omit_defaults=True):
    """How to ask a container whether it is well; durations in nanoseconds."""

    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class RunConfig(msgspec.Struct, rename="pascal", omit_defaults=True):
    """Defaults for the containers of an image (``config`` in the image configuration)."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | str | None = None
    cmd: list[str] | str | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    args_escaped: bool | None = None
    memory: int | None = None
    memory_swap: int | None = None
    cpu_shares: int | None = None

    def __post_init__(self) -> None:
        # Very old images carry a bare string here; Docker's strslice takes it as a list of one.
        if isinstance(self.entrypoint, str):
            self.entrypoint = [self.entrypoint]
        if isinstance(self.cmd, str):
            self.cmd = [self.cmd]


class History(msgspec.Struct, omit_defaults=True):
    """One step of how the image was made; `empty_layer` steps have no layer."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class RootFS(msgspec.Struct):
    """The layers, lowest first, as digests of their uncompressed tars."""

    type: str = "layers"
    diff_ids: list[str] | None = None


class ImageConfig(msgspec.Struct, omit_defaults=True):
    """The image configuration; the digest of its bytes is the image's id."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)
    created: str | None = None
    author: str | None = None
    config: RunConfig | None = None
    rootfs: RootFS | None = None
    history: list[History] | None = None
    docker_version: str | None = None
    comment: str | None = None
    container_config: dict[str, Any] | None = None

    @property
    def run(self) -> RunConfig:
        """The defaults for containers, empty where the image has none."""
        return self.config or RunConfig()

    @property
    def diff_ids(self) -> list[Digest]:
        """The layers, lowest first."""
        return [Digest(diff_id) for diff_id in (self.rootfs.diff_ids if self.rootfs else None) or []]

    @property
    def chain_id(self) -> Digest | None:
        """The name of the whole stack of layers; None without layers."""
        return chain_id(self.diff_ids)

    @property
    def platform(self) -> Platform:
        """The platform it runs on."""
        return Platform(self.architecture, self.os, self.os_version, self.os_features, self.variant)


_DECODER = msgspec.json.Decoder(ImageConfig)


def parse(data: bytes) -> ImageConfig:
    """The configuration in *data*; raises `InvalidImage`."""
    if len(data) > MAX_CONFIG:
        raise InvalidImage(f"invalid image config: larger than {MAX_CONFIG} bytes")
    try:
        config = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidImage(f"invalid image config: {error}") from None
    if config.rootfs is not None and config.rootfs.type != "layers":
        raise InvalidImage(f'invalid image config: rootfs type "{config.rootfs.type}" is not "layers"')
    if len(config.diff_ids) > MAX_LAYERS:
        raise InvalidImage(f"invalid image config: more than {MAX_LAYERS} layers")
    for diff_id in config.diff_ids:
        try:
            digests.parse(diff_id)
        except digests.InvalidDigest as error:
            raise InvalidImage(f"invalid image config: diff id {diff_id!r}: {error}") from None
    return config

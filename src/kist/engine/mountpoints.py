"""`-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's volumes → one list of mounts.

Pure: names and paths are checked, nothing is looked up. Order of precedence as Docker's: `--volumes-from`
is overruled by `-v`, `--mount` and `--tmpfs`, the image's own volumes come last.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from kist.engine.records import Mount
from kist.errors import InvalidParameter, NotSupported

Json = dict[str, Any]
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
# tmpfs(5), and mount(8)'s options for every file system; a value where the pattern wants one.
_TMPFS = re.compile(r"size=\d+[kmgKMG%]?|mode=[0-7]+|[ug]id=\d+|nr_(inodes|blocks)=\d+[kmgKMG]?|mpol=.+|defaults|r[ow]"
                    r"|(no)?(suid|dev|exec|atime|diratime|relatime|strictatime|mand)|a?sync|dirsync")
_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}) | _PROPAGATIONS


def mount_points(host: Json, image_volumes: Iterable[str], from_containers: Iterable[Mount],
                 new_name: Callable[[], str]) -> list[Mount]:
    """All mounts of a container; `new_name` makes the name of an anonymous volume."""
    found: dict[str, Mount] = {mount.target: mount for mount in from_containers}
    asked: set[str] = set()
    for mount in [*_binds(host, new_name), *_mounts(host, new_name), *_tmpfs(host)]:
        if mount.target in asked:
            raise InvalidParameter(f"Duplicate mount point: {mount.target}")
        asked.add(mount.target)
        found[mount.target] = mount
    for path in image_volumes:
        target = _target(path, path)
        if target not in found:
            found[target] = _anonymous(target, new_name())
    return list(found.values())


def parse_bind(text: str, new_name: Callable[[], str]) -> Mount:
    """`/host:/target[:mode]`, `name:/target[:mode]` or `/target`."""
    parts = text.split(":")
    if len(parts) == 1:
        return _anonymous(_target(parts[0], text), new_name())
    if len(parts) > 3 or not all(parts):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    modes = parts[2].split(",") if len(parts) == 3 else []
    if not set(modes) <= _MODES or {"ro", "rw"} <= set(modes) or len(set(modes) & _PROPAGATIONS) > 1:
        raise InvalidParameter(f"invalid mode: {parts[2]}")
    mount = Mount(type="bind", target=_target(parts[1], text), rw="ro" not in modes,
                  mode=parts[2] if len(parts) == 3 else "",
                  propagation=next(iter(set(modes) & _PROPAGATIONS), ""))
    if parts[0].startswith("/"):
        mount.source, mount.create_source = posixpath.normpath(parts[0]), True
        mount.propagation = mount.propagation or "rprivate"
        return mount
    mount.type, mount.name, mount.driver, mount.mode = "volume", check_volume_name(parts[0]), "local", \
        mount.mode or "z"
    return mount


def check_volume_name(name: str) -> str:
    if not VOLUME_NAME.fullmatch(name):
        raise InvalidParameter(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path")
    return name


def parse_volumes_from(text: str) -> tuple[str, bool | None]:
    """`container[:ro|rw]` → (container, rw or None for as it is there)."""
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw", "z", "Z"):
        raise InvalidParameter(f"invalid mode: {mode}")
    return name, {"ro": False, "rw": True}.get(mode)


def _binds(host: Json, new_name: Callable[[], str]) -> list[Mount]:
    return [parse_bind(text, new_name) for text in host.get("Binds") or ()]


def _mounts(host: Json, new_name: Callable[[], str]) -> list[Mount]:
    return [_mount(entry, new_name) for entry in host.get("Mounts") or ()]


def _mount(entry: Json, new_name: Callable[[], str]) -> Mount:
    kind, target = entry["Type"], entry["Target"]
    if not target:
        raise InvalidParameter("invalid mount config for type \"" + kind + "\": field Target must not be empty")
    mount = Mount(type=kind, target=_target(target, target), rw=not entry.get("ReadOnly"))
    make = _KINDS.get(kind)
    if make is None:
        if kind in ("image", "npipe", "cluster"):
            raise NotSupported(f"mount type {kind} is not supported by Kist")
        raise InvalidParameter(f'invalid mount config for type "{kind}": mount type unknown')
    make(mount, entry, new_name)
    return mount


def _bind_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    source, options = entry.get("Source", ""), entry.get("BindOptions") or {}
    if not source:
        raise InvalidParameter('invalid mount config for type "bind": field Source must not be empty')
    if not source.startswith("/"):
        raise InvalidParameter('invalid mount config for type "bind": invalid mount path: '
                               f"'{source}' mount path must be absolute")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise InvalidParameter('invalid mount config for type "bind": invalid propagation mode: ' + propagation)
    mount.source, mount.propagation = posixpath.normpath(source), propagation
    mount.create_source = bool(options.get("CreateMountpoint"))
    if options.get("NonRecursive"):
        mount.mode = "bind-nonrecursive"


def _volume_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    options = entry.get("VolumeOptions") or {}
    driver = (options.get("DriverConfig") or {}).get("Name") or "local"
    if driver != "local":
        raise NotSupported(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
    if (options.get("DriverConfig") or {}).get("Options") or options.get("Subpath"):
        raise NotSupported("volume driver options and subpaths in --mount are not supported by Kist")
    source = entry.get("Source", "")
    mount.name, mount.driver, mount.mode = source or new_name(), "local", "z"
    mount.anonymous = not source
    check_volume_name(mount.name)
    if options.get("NoCopy"):
        mount.mode = "z,nocopy"


def _tmpfs_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    if entry.get("Source"):
        raise InvalidParameter('invalid mount config for type "tmpfs": field Source must not be specified')
    options = entry.get("TmpfsOptions") or {}
    if (options.get("SizeBytes") or 0) < 0:
        raise InvalidParameter('invalid mount config for type "tmpfs": size must not be negative')
    mount.options = [f"size={options['SizeBytes']}"] if options.get("SizeBytes") else []
    if options.get("Mode"):
        mount.options.append(f"mode={options['Mode']:o}")
    mount.options += ["=".join(pair) for pair in options.get("Options") or ()]


_KINDS = {"bind": _bind_mount, "volume": _volume_mount, "tmpfs": _tmpfs_mount}


def _tmpfs(host: Json) -> list[Mount]:
    return [Mount(type="tmpfs", target=_target(path, path), options=_tmpfs_options(options))
            for path, options in (host.get("Tmpfs") or {}).items()]


def _tmpfs_options(text: str) -> list[str]:
    options = [option for option in text.split(",") if option]
    for option in options:
        if not _TMPFS.fullmatch(option):
            raise InvalidParameter(f'invalid tmpfs option "{option}"')
    return options


def _anonymous(target: str, name: str) -> Mount:
    return Mount(type="volume", target=target, name=name, driver="local", anonymous=True)


def _target(path: str, whole: str) -> str:
    if not path.startswith("/"):
        raise InvalidParameter(f"invalid volume specification: '{whole}': invalid mount config for type "
                               f"\"bind\": invalid mount path: '{path}' mount path must be absolute")
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise InvalidParameter(f"invalid volume specification: '{whole}': invalid mount config for type "
                               "\"bind\": invalid specification: destination can't be '/'")
    return clean

"""`-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's volumes → one list of mounts.

Pure: names and paths are checked, nothing is looked up. Order of precedence as Docker's: `--volumes-from`
is overruled by `-v`, `--mount` and `--tmpfs`, the image's own volumes come last.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from kist.engine import idmaps
from kist.engine.records import Mount
from kist.errors import InvalidParameter, NotFound, NotSupported

Json = dict[str, Any]
LEAST_NAME = 2  # characters
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
# tmpfs(5), and mount(8)'s options for every file system; a value where the pattern wants one.
_TMPFS = re.compile(r"size=\d+[kmgKMG%]?|mode=[0-7]+|[ug]id=\d+|nr_(inodes|blocks)=\d+[kmgKMG]?|mpol=.+|defaults|r[ow]"
                    r"|(no)?(suid|dev|exec|atime|diratime|relatime|strictatime|mand)|a?sync|dirsync")
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_TREE_WORDS = _PROPAGATIONS | {"unbindable", "runbindable"}
_CONSISTENCIES = frozenset({"cached", "delegated", "consistent", "default"})
_MODES = frozenset({"ro", "rro", "rw", "z", "Z", "nocopy", "idmap"}) | _CONSISTENCIES | _PROPAGATIONS
_EXCLUSIVE = (frozenset({"ro", "rro", "rw"}), frozenset({"z", "Z"}), _CONSISTENCIES, _PROPAGATIONS)
_OPTIONS_OF = {"BindOptions": "bind", "VolumeOptions": "volume", "ImageOptions": "image", "TmpfsOptions": "tmpfs"}
_INVALID = 'invalid mount config for type "{}": '
_BAD_NAME = ('"{}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
             "If you intended to pass a host directory, use absolute path")


def mount_points(host: Json, image_volumes: Iterable[str], from_containers: Iterable[Mount],
                 new_name: Callable[[], str], *, data: str = "") -> list[Mount]:
    """All mounts of a container; `new_name` makes the name of an anonymous volume, `data` is where the server's own
    files lie."""
    found: dict[str, Mount] = {mount.target: mount for mount in from_containers}
    driver = host.get("VolumeDriver") or ""
    asked: set[str] = set()
    for mount in [*_binds(host, driver, new_name), *_mounts(host, new_name), *_tmpfs(host)]:
        if mount.target in asked:
            raise InvalidParameter(f"Duplicate mount point: {mount.target}")
        asked.add(mount.target)
        found[mount.target] = mount
        if mount.type == "bind" and not mount.propagation:
            mount.propagation = "rslave" if data and _overlap(mount.source, data) else "rprivate"
    for path in image_volumes:
        target = _target("/" + path.lstrip("/"), "volume", path)  # `-v data` alone is an anonymous volume on /data
        if target not in found:
            found[target] = check_driver(_anonymous(target, new_name()), driver)
    return list(found.values())


def _overlap(one: str, other: str) -> bool:
    """Whether one of the paths holds the other. What the server mounts in its own directory, and unmounts, is to go
    from such a container as well, or it stays busy (moby: validateBindDaemonRoot)."""
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def leave_below_writable(mounts: Iterable[Mount]) -> None:
    """What a read-only mount meant before API v1.44, where nothing else is said."""
    for mount in mounts:
        if mount.type in ("bind", "volume") and not mount.rw and not mount.recursion:
            mount.recursion = "writable"


def parse_bind(text: str, new_name: Callable[[], str]) -> Mount:
    """`/host:/target[:mode]`, `name:/target[:mode]` or `/target`."""
    parts = text.split(":")
    if len(parts) == 1 and text:
        mount = _anonymous(_target(text, "volume", text), new_name())
        mount.mode = "z"
        return mount
    if len(parts) > 3 or not all(parts):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    words = parts[2].split(",") if len(parts) == 3 else []
    modes = {word for word in words if not word.startswith("idmap=")}
    is_bind = parts[0].startswith("/")
    if not modes <= _MODES or any(len(modes & group) > 1 for group in _EXCLUSIVE) or len(modes) < len(
            [word for word in words if not word.startswith("idmap=")]):
        raise InvalidParameter(f"invalid mode: {parts[2]}")
    _check_mode(modes, "bind" if is_bind else "volume", text)
    mount = Mount(type="bind", target=_target(parts[1], "bind" if is_bind else "volume", text),
                  rw=not modes & {"ro", "rro"}, mode=parts[2] if len(parts) == 3 else "",
                  propagation=next(iter(modes & _PROPAGATIONS), ""), idmap=_idmap_word(words),
                  recursion="readonly" if "rro" in modes else "", nocopy="nocopy" in modes)
    if is_bind:
        mount.source, mount.create_source = posixpath.normpath(parts[0]), True
        return mount
    mount.type, mount.name, mount.driver, mount.mode = "volume", check_volume_name(parts[0], "create"), "local", \
        mount.mode or "z"
    return mount


def _check_mode(modes: set[str], kind: str, text: str) -> None:
    """Words that belong to the other kind of mount (moby: the parser's validateMountConfigImpl)."""
    wrong = "VolumeOptions" if kind == "bind" and "nocopy" in modes else \
        "BindOptions" if kind == "volume" and modes & _PROPAGATIONS else ""
    if wrong:
        raise InvalidParameter(f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
                               f"field {wrong} must not be specified")


def _idmap_word(words: list[str]) -> str:
    given = [word for word in words if word == "idmap" or word.startswith("idmap=")]
    if len(given) > 1:
        raise InvalidParameter(f"invalid mode: {','.join(words)}")
    return idmaps.check(given[0].removeprefix("idmap").removeprefix("=") or idmaps.OWNER) if given else ""


def check_volume_name(name: str, doing: str) -> str:
    if len(name) < LEAST_NAME:
        raise InvalidParameter(f"{doing} {name}: volume name is too short, names should be at least two alphanumeric "
                               "characters")
    if not VOLUME_NAME.fullmatch(name):
        raise InvalidParameter(f"{doing} {name}: {_BAD_NAME.format(name)}")
    return name


def check_driver(mount: Mount, driver: str) -> Mount:
    """There is but one."""
    if driver not in ("", "local"):
        raise no_driver(mount.name, driver)
    return mount


def no_driver(name: str, driver: str) -> NotFound:
    return NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')


def parse_volumes_from(text: str) -> tuple[str, bool | None]:
    """`container[:ro|rw]` → (container, rw or None for as it is there)."""
    if not text:
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw", "z", "Z"):
        raise InvalidParameter(f"invalid mode: {mode}")
    return name, {"ro": False, "rw": True}.get(mode)


def _binds(host: Json, driver: str, new_name: Callable[[], str]) -> list[Mount]:
    found = [parse_bind(text, new_name) for text in host.get("Binds") or ()]
    return [mount if mount.type == "bind" else check_driver(mount, driver) for mount in found]


def _mounts(host: Json, new_name: Callable[[], str]) -> list[Mount]:
    return [_mount(entry, new_name) for entry in host.get("Mounts") or ()]


def _mount(entry: Json, new_name: Callable[[], str]) -> Mount:
    kind, target = entry["Type"], entry["Target"]
    make = _KINDS.get(kind)
    if make is None:
        if kind in ("npipe", "cluster"):
            raise NotSupported(f"mount type {kind} is not supported by Kist")
        raise InvalidParameter(_INVALID.format(kind) + "mount type unknown")
    if not target:
        raise InvalidParameter(_INVALID.format(kind) + "field Target must not be empty")
    for field, owner in _OPTIONS_OF.items():
        if entry.get(field) is not None and owner != kind:
            raise InvalidParameter(f'{field} must not be specified on mount type "{kind}"')
    mount = Mount(type=kind, target=_target(target, kind), rw=not entry.get("ReadOnly"))
    if entry.get("IDMap"):
        if kind not in ("bind", "volume"):
            raise InvalidParameter(_INVALID.format(kind) + "idmap is for binds and volumes")
        mount.idmap = idmaps.check(entry["IDMap"])
    make(mount, entry, new_name)
    return mount


def _bind_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    source, options = entry.get("Source", ""), entry.get("BindOptions") or {}
    invalid = _INVALID.format("bind")
    if not source:
        raise InvalidParameter(f"{invalid}field Source must not be empty")
    if not source.startswith("/"):
        raise InvalidParameter(f"{invalid}invalid mount path: '{source}' mount path must be absolute")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise InvalidParameter(f"{invalid}invalid propagation mode: {propagation}")
    below, force = options.get("ReadOnlyNonRecursive"), options.get("ReadOnlyForceRecursive")
    if below and force:
        raise InvalidParameter(f"{invalid}ReadOnlyForceRecursive can't be given together with ReadOnlyNonRecursive")
    if force and (propagation != "rprivate" or options.get("NonRecursive")):
        raise InvalidParameter(f"{invalid}ReadOnlyForceRecursive requires Propagation to be rprivate, and a recursive "
                               "mount")
    mount.source, mount.propagation = posixpath.normpath(source), options.get("Propagation") or ""
    mount.recursion = "writable" if below else "readonly" if force else ""
    mount.create_source = bool(options.get("CreateMountpoint"))
    if options.get("NonRecursive"):
        mount.recursion = "disabled"


def _volume_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    options = entry.get("VolumeOptions") or {}
    chosen = options.get("DriverConfig") or {}
    driver, source = chosen.get("Name") or "local", entry.get("Source", "")
    mount.name, mount.driver, mount.mode = source or new_name(), "local", "z"
    mount.anonymous = not source
    if source:
        check_volume_name(source, "create")
    check_driver(mount, driver)
    mount.subpath = _subpath(mount.type, options)
    if mount.subpath and not source:
        raise InvalidParameter(_INVALID.format("volume") + "must not set Subpath when using anonymous volumes")
    mount.nocopy = bool(options.get("NoCopy"))
    mount.volume_labels, mount.volume_options = options.get("Labels") or None, chosen.get("Options") or None


def _subpath(kind: str, options: Json) -> str:
    asked = options.get("Subpath") or ""
    if asked and (asked.startswith("/") or posixpath.normpath(asked).split("/")[0] == ".." or "\0" in asked):
        raise InvalidParameter(_INVALID.format(kind) + f"subpath must be a relative path within the {kind}")
    return posixpath.normpath(asked) if asked else ""


def _image_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    """Always read-only, as Docker's: an image never changes."""
    if not entry.get("Source"):
        raise InvalidParameter(_INVALID.format("image") + "field Source must not be empty")
    mount.source, mount.rw, mount.mode = entry["Source"], False, "ro"
    mount.subpath = _subpath(mount.type, entry.get("ImageOptions") or {})


def _tmpfs_mount(mount: Mount, entry: Json, new_name: Callable[[], str]) -> None:
    if entry.get("Source"):
        raise InvalidParameter(_INVALID.format("tmpfs") + "field Source must not be specified")
    options = entry.get("TmpfsOptions") or {}
    if (options.get("SizeBytes") or 0) < 0:
        raise InvalidParameter(_INVALID.format("tmpfs") + "size must not be negative")
    mount.options = [f"size={options['SizeBytes']}"] if options.get("SizeBytes") else []
    if options.get("Mode"):
        mount.options.append(f"mode={options['Mode']:o}")
    mount.options += [_tmpfs_pair(pair) for pair in options.get("Options") or ()]


def _tmpfs_pair(pair: list[str]) -> str:
    """One of the API's TmpfsOptions.Options: `["exec"]` or `["nr_inodes", "10"]`."""
    if not 1 <= len(pair) <= 2:
        raise InvalidParameter(_INVALID.format("tmpfs") + "invalid option array length")
    text = "=".join(pair)
    if not _TMPFS.fullmatch(text):
        raise InvalidParameter(_INVALID.format("tmpfs") + f"invalid option: {pair[0]}")
    return text


_KINDS = {"bind": _bind_mount, "volume": _volume_mount, "tmpfs": _tmpfs_mount, "image": _image_mount}


def _tmpfs(host: Json) -> list[Mount]:
    return [Mount(type="tmpfs", target=_target(path, ""), options=_tmpfs_options(options))
            for path, options in (host.get("Tmpfs") or {}).items()]


def _tmpfs_options(text: str) -> list[str]:
    options = [option for option in text.split(",") if option]
    for option in options:
        if option not in _TREE_WORDS and not _TMPFS.fullmatch(option):
            key = option.partition("=")[0]
            raise InvalidParameter(f'invalid tmpfs option "{option if key in _TMPFS_VALUES else key}"')
    return options


def _anonymous(target: str, name: str) -> Mount:
    return Mount(type="volume", target=target, name=name, driver="local", anonymous=True)


def _target(path: str, kind: str, whole: str = "") -> str:
    """The clean path; `whole`: the specification of a `-v` that it is from. `--tmpfs` has no kind to name."""
    invalid = f"invalid volume specification: '{whole}': " if whole else ""
    invalid += _INVALID.format(kind) if kind else ""
    if not path.startswith("/"):
        raise InvalidParameter(f"{invalid}invalid mount path: '{path}' mount path must be absolute")
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise InvalidParameter(f"{invalid}invalid specification: destination can't be '/'")
    return clean

"""`--mount type=bind,source=/a,target=/b,…` → one entry of HostConfig.Mounts (Engine API v1.51, *Mount*)."""

from __future__ import annotations

import os
import sys

from kist.cli.container_body import BadValue
from kist.cli.container_values import csv_fields
from kist.cli.values import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]

# key → part of the entry ("" itself), field, kind
FIELDS: dict[str, tuple[str, str, str]] = {
    "type": ("", "Type", "lower"),
    "source": ("", "Source", "text"),
    "src": ("", "Source", "text"),
    "target": ("", "Target", "text"),
    "dst": ("", "Target", "text"),
    "destination": ("", "Target", "text"),
    "readonly": ("", "ReadOnly", "bool"),
    "ro": ("", "ReadOnly", "bool"),
    "consistency": ("", "Consistency", "lower"),
    "bind-propagation": ("BindOptions", "Propagation", "lower"),
    "bind-nonrecursive": ("BindOptions", "NonRecursive", "bool"),
    "bind-create-src": ("BindOptions", "CreateMountpoint", "bool"),
    "create-mountpoint": ("BindOptions", "CreateMountpoint", "bool"),
    "volume-subpath": ("VolumeOptions", "Subpath", "text"),
    "volume-nocopy": ("VolumeOptions", "NoCopy", "bool"),
    "volume-label": ("VolumeOptions", "Labels", "pair"),
    "volume-driver": ("VolumeOptions", "DriverConfig.Name", "text"),
    "volume-opt": ("VolumeOptions", "DriverConfig.Options", "pair"),
    "idmap": ("", "IDMap", "idmap"),
    "image-subpath": ("ImageOptions", "Subpath", "text"),
    "tmpfs-size": ("TmpfsOptions", "SizeBytes", "size"),
    "tmpfs-mode": ("TmpfsOptions", "Mode", "octal"),
}
OPTIONS_OF = {"BindOptions": "bind", "VolumeOptions": "volume", "ImageOptions": "image", "TmpfsOptions": "tmpfs"}
# `bind-recursive`: what it means for the entry.
RECURSIVE: dict[str, Body] = {"enabled": {}, "disabled": {"NonRecursive": True},
                              "writable": {"ReadOnlyNonRecursive": True}, "readonly": {"ReadOnlyForceRecursive": True}}
# strconv.ParseBool's
BOOLEANS = {**dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
            **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)}
SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "idmap")


def mount(value: str) -> Body:
    """One mount; BadValue as Docker words it."""
    entry: Body = {"Type": "volume"}
    if not value:
        raise BadValue(value, "EOF")
    for field in csv_fields(value):
        key, mark, text = field.partition("=")
        key = key.lower()
        if not mark:
            if key not in SWITCHES:
                raise BadValue(value, f"invalid field '{field}' must be a key=value pair")
            text = "true"
        elif key == "bind-nonrecursive" and text in BOOLEANS:  # as a bare word Docker's client takes it in silence
            sys.stderr.write("WARNING: bind-nonrecursive is deprecated, use bind-recursive=disabled instead\n")
        if key == "bind-recursive":
            if text not in RECURSIVE:
                raise BadValue(value, f"invalid value for {key}: {text} (must be \"enabled\", \"disabled\", "
                                      '"writable", or "readonly")')
            entry.setdefault("BindOptions", {}).update(RECURSIVE[text])
            continue
        if key not in FIELDS:
            raise BadValue(value, f"unexpected key '{key}' in '{field}'")
        _set(entry, key, text, value)
    _check(entry, value)
    return entry


def _set(entry: Body, key: str, text: str, value: str) -> None:
    where, name, kind = FIELDS[key]
    body = entry
    for step in [where] * bool(where) + name.split(".")[:-1]:
        entry = entry.setdefault(step, {})
    if where == "VolumeOptions":
        body["VolumeOptions"].setdefault("DriverConfig", {})  # always there in what Docker's client sends
    name = name.rpartition(".")[2]
    if kind == "idmap":
        entry[name] = "owner" if text.lower() == "true" else text
    elif kind == "pair":
        inner, _, content = text.partition("=")
        entry.setdefault(name, {})[inner] = content
    else:
        entry[name] = _converted(key, kind, text, value)


def _converted(key: str, kind: str, text: str, value: str) -> str | bool | int:
    try:
        if kind == "bool":
            return BOOLEANS[text]
        if kind == "size":
            return size(text)
        if kind == "octal":
            if not text.isdecimal() or int(text, 8) >= 1 << 32:
                raise ValueError(text)
            return int(text, 8)
    except (KeyError, ValueError):
        raise BadValue(value, f"invalid value for {key}: {text}") from None
    return text.lower() if kind == "lower" else text


def _check(entry: Body, value: str) -> None:
    if not entry["Type"]:
        raise BadValue(value, "type is required")
    if not entry.get("Target"):
        raise BadValue(value, "target is required")
    for options, kind in OPTIONS_OF.items():
        if options in entry and entry["Type"] != kind:
            raise BadValue(value, f"cannot mix '{kind}-*' options with mount type '{entry['Type']}'")
    options = entry.get("BindOptions", {})
    for field, word in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if options.get(field) and not entry.get("ReadOnly"):
            raise BadValue(value, f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction")
    if options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
        raise BadValue(value, "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified "
                              "in conjunction")
    if entry["Type"] == "bind" and entry.get("Source", "").startswith("."):
        entry["Source"] = os.path.abspath(entry["Source"])

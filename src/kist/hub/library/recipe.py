"""Recipes as data: one folder each below `recipes/`, with a `recipe.toml` and the files that it puts into the image.

    summary = "…"                  one line, for the Hub's pages
    description = "…"              Markdown, for the repository's page
    tags = ["latest", "{suite}"]   {version} and {suite} are filled in; default: latest
    versions = "nginx"             the package whose version gives {version}, and the tags 1.22.1, 1.22 and 1
    from = "debian"                the recipe whose layers come first; without it the image begins empty
    packages = ["nginx-light"]     installed over it by apt, with what they need
    without = ["var/www/*"]        what of the packages' layer is left out (fnmatch patterns)
    bootstrap = true               a minimal Debian (mmdebstrap)
    [[user]]                       made before the packages are: name, uid, home, shell
    [before]                       files (path → text) that are there while packages are installed
    [[extract]]                    files out of a package that is not installed: package, files (patterns), to
    [[put]]                        path, and source (a file of the folder) or text; mode, owner
    [[directory]]                  path; mode, owner
    [[link]]                       path, to
    [printer]                      path, text: a program that prints the text
    [applets]                      program: links to busybox for each of its applets
    [certificates]                 package, path: its CA certificates as one file
    [config]                       the image's run configuration (image-spec 1.1, config.md)

Paths are absolute and have no variables; modes are numbers (0o755). An unknown key is an error.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from kist.errors import InvalidParameter

FOLDER = Path(__file__).parent / "recipes"
#: What the builder itself does to an image: another number is another image.
BUILDER = 3


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of a recipe; what is not known is refused."""


class User(_Part):
    name: str
    uid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"


class Extract(_Part):
    package: str
    files: list[str]
    to: str = ""  # one file gets this path, others keep their own


class Put(_Part):
    path: str
    source: str = ""
    text: str = ""
    mode: int = 0o644
    owner: str = "root"


class Folder(_Part):
    path: str
    mode: int = 0o755
    owner: str = "root"


class Link(_Part):
    path: str
    to: str


class Printer(_Part):
    path: str
    text: str


class Applets(_Part):
    program: str
    package: str


class Certificates(_Part):
    package: str
    path: str


class Recipe(_Part, rename={"base": "from"}, dict=True):
    """One image. ``folder`` is set by `load`."""

    summary: str
    description: str = ""
    tags: list[str] = msgspec.field(default_factory=lambda: ["latest"])
    versions: str = ""
    base: str = ""
    bootstrap: bool = False
    packages: list[str] = []
    without: list[str] = []
    before: dict[str, str] = {}
    user: list[User] = []
    extract: list[Extract] = []
    put: list[Put] = []
    directory: list[Folder] = []
    link: list[Link] = []
    printer: Printer | None = None
    applets: Applets | None = None
    certificates: Certificates | None = None
    config: dict[str, Any] = {}

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The packages that the recipe names: their versions are part of its key."""
        extra = (self.certificates.package if self.certificates else "", self.applets.package if self.applets else "",
                 self.versions)
        return tuple(dict.fromkeys(one for one in (*self.packages, *(e.package for e in self.extract), *extra) if one))


class Named(msgspec.Struct, frozen=True):
    """A recipe with its name (``redis``, ``kist/base``) and its folder."""

    name: str
    folder: Path
    recipe: Recipe

    @property
    def repository(self) -> str:
        """Where it is in a Hub: names without a slash are the library's."""
        return self.name if "/" in self.name else f"library/{self.name}"

    def content(self) -> str:
        """SHA-256 over everything in the folder and the builder's own number."""
        running = hashlib.sha256(str(BUILDER).encode())
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            running.update(f"\0{path.relative_to(self.folder)}\0{len(data)}\0".encode() + data)
        return running.hexdigest()


def load(folder: Path, name: str) -> Named:
    """Reads one recipe. Raises InvalidParameter for one that is not right."""
    path = folder / "recipe.toml"
    try:
        recipe = msgspec.convert(tomllib.loads(path.read_text()), Recipe)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidParameter(f"{path}: {error}") from None
    for where in (*(p.path for p in recipe.put), *(d.path for d in recipe.directory), *(n.path for n in recipe.link)):
        if not where.startswith("/") or ".." in where.split("/"):
            raise InvalidParameter(f"{path}: not an absolute path: {where}")
    for one in recipe.put:
        if bool(one.source) == bool(one.text) or (one.source and not (folder / one.source).is_file()):
            raise InvalidParameter(f"{path}: {one.path} needs a text, or a source that is there")
    if recipe.user and not recipe.packages:
        raise InvalidParameter(f"{path}: users are made where packages are installed")
    return Named(name, folder, recipe)


def load_all(own: Path | None = None) -> Mapping[str, Named]:
    """The recipes here and those of a folder of one's ``own``, by name; bases come before what stands on them."""
    found = {}
    for folder in (FOLDER, *([own] if own else [])):
        for path in sorted(folder.rglob("recipe.toml")):
            name = str(path.parent.relative_to(folder))
            found[name] = load(path.parent, name)
    for one in found.values():
        if one.recipe.base and one.recipe.base not in found:
            raise InvalidParameter(f"{one.name}: there is no recipe {one.recipe.base} to build it from")
    return MappingProxyType(dict(sorted(found.items(), key=lambda row: (len(lineage(found, row[0])), row[0]))))


def lineage(recipes: Mapping[str, Named], name: str) -> list[str]:
    """The names of the recipe's bases, lowest first, and its own. Raises InvalidParameter for a circle."""
    names = [name]
    while base := recipes[names[0]].recipe.base:
        if base in names:
            raise InvalidParameter(f"{name}: a circle of bases through {base}")
        names.insert(0, base)
    return names


def upstream_version(version: str) -> str:
    """The software's own version in a Debian one: ``5:7.0.15-1~deb12u6`` → ``7.0.15``."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return found.group(1) if found else "0"


def tags(recipe: Recipe, version: str, suite: str) -> list[str]:
    """The tags of an image, the first one being its main one."""
    filled = [tag.format(version=version, suite=suite) for tag in recipe.tags]
    parts = version.split(".") if version else []
    return list(dict.fromkeys([*filled, *(".".join(parts[:count]) for count in range(len(parts), 0, -1))]))


def fill(value: Any, **words: str) -> Any:
    """``{version}`` and the like in every text of a configuration."""
    if isinstance(value, str):
        return re.sub(r"\{(version|major|suite)\}", lambda found: words[found.group(1)], value)
    if isinstance(value, list):
        return [fill(one, **words) for one in value]
    if isinstance(value, dict):
        return {key: fill(one, **words) for key, one in value.items()}
    return value

"""Reads the metadata of installed distributions in the order in which Python would import from them."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from errno import ENOENT
from typing import Any, Final

__all__ = ["MANIFESTS", "PREFIX", "Distribution", "distributions", "entry_points", "package_directories"]

#: What the names of all our entry-point groups begin with.
PREFIX: Final = "gleitzeit."
#: The group that names data files; all other groups name objects to import.
MANIFESTS: Final = "gleitzeit.manifest"


class Distribution:
    """A distribution that has entry points of ours."""

    def __init__(
        self, name: str, version: str, location: str, text: str, read: Callable[[str], bytes]
    ) -> None:
        self.name = name
        self.version = version
        self.location = location
        #: The content of entry_points.txt.
        self.text = text
        #: The bytes of a file beside the distribution's packages; raises OSError.
        self.read = read


def distributions(path: tuple[str, ...], problems: list[str]) -> Iterator[Distribution]:
    """The distributions that mention our groups, in the order in which Python would import from them."""
    seen: set[str] = set()
    own = False
    for finder in list(sys.meta_path):
        if finder is importlib.machinery.PathFinder:
            own = True
            for root in dict.fromkeys(path):
                yield from _listed(root, seen, problems)
        elif hasattr(finder, "find_distributions") and type(finder).__name__ != "MetadataPathFinder":
            yield from _foreign(finder, path, seen, problems)
    if not own:
        for root in dict.fromkeys(path):
            yield from _listed(root, seen, problems)


def _listed(root: str, seen: set[str], problems: list[str]) -> Iterator[Distribution]:
    """What lies in a directory or archive of the path."""
    names, read = _place(root)
    here: dict[str, str] = {}
    for info in sorted(names):
        stem = os.path.basename(root) if info == "EGG-INFO" else info[: info.rindex(".")]
        name = _canonical(stem.partition("-")[0])
        if name in seen or name.startswith("~"):  # pip renames what it cannot remove: ~leitzeit
            continue
        if name in here:  # left by a broken upgrade; the code beside it belongs to the last one
            info = max(here[name], info, key=lambda each: _changed(root, each))
        here[name] = info
    seen.update(here)
    for name, info in here.items():
        try:
            data = read(f"{info}/entry_points.txt")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            file = os.path.join(root, info, "entry_points.txt")
            problems.append(f"{name}: {file} cannot be read: {error.strerror}")
            continue
        if b"gleitzeit." in data:
            text = data.decode("utf-8-sig", "replace")
            yield Distribution(name, _version(info, read), root, text, read)


def _place(root: str) -> tuple[Iterable[str], Callable[[str], bytes]]:
    """The names of what describes distributions in a directory or archive, and how to read a file there."""
    try:
        with os.scandir(root) as listing:
            return [entry.name for entry in listing if _describes(entry.name)], _reader_of_directory(root)
    except NotADirectoryError:
        return _archive(root)
    except OSError:
        return (), _reader_of_directory(root)


def _archive(root: str) -> tuple[Iterable[str], Callable[[str], bytes]]:
    import zipfile

    def read(relative: str) -> bytes:
        # Opened anew each time: a listing must not hold a file open for the life of the process.
        try:
            with zipfile.ZipFile(root) as archive:
                return archive.read(relative)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FileNotFoundError(ENOENT, "there is no such file in the archive", relative) from error

    try:
        with zipfile.ZipFile(root) as archive:
            return {
                top for top in (name.partition("/")[0] for name in archive.namelist()) if _describes(top)
            }, read
    except (OSError, zipfile.BadZipFile):
        return (), read


def _reader_of_directory(root: str) -> Callable[[str], bytes]:
    def read(relative: str) -> bytes:
        with open(f"{root}/{relative}", "rb", buffering=0) as stream:
            return stream.read()

    return read


def _describes(name: str) -> bool:
    return name.endswith((".dist-info", ".egg-info")) or name == "EGG-INFO"


def _changed(root: str, info: str) -> int:
    try:
        return os.stat(os.path.join(root, info)).st_mtime_ns
    except OSError:  # in an archive
        return 0


def _foreign(
    finder: Any, path: tuple[str, ...], seen: set[str], problems: list[str]
) -> Iterator[Distribution]:
    """What a finder other than Python's own says of distributions."""
    import importlib_metadata

    context = importlib_metadata.DistributionFinder.Context(path=list(path))  # type: ignore[no-untyped-call]  # theirs
    try:
        for distribution in finder.find_distributions(context):
            name = _canonical(str(distribution.metadata["Name"] or ""))
            if name in seen:
                continue
            seen.add(name)
            text = distribution.read_text("entry_points.txt") or ""
            if PREFIX in text:
                yield Distribution(
                    name,
                    str(distribution.version),
                    "".join(path[:1]),
                    text,
                    _distribution_reader(distribution),
                )
    except Exception as error:  # noqa: BLE001  # somebody else's finder, or a broken archive
        problems.append(f"distributions of {finder!r} cannot be read: {type(error).__name__}: {error}")


def entry_points(text: str) -> Iterator[tuple[str, str, str, str | None]]:
    """(group, name, value, fault) of each line in a group of ours."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line[1:-1].strip()
        elif group.startswith(PREFIX):
            name, equals, value = (part.strip() for part in line.partition("="))
            value = value.partition("[")[0].rstrip()
            module, _, path = value.partition(":")
            fault = None
            if not (equals and name):
                fault = f"the line {line!r} in entry_points.txt is no `name = module:attribute`"
            elif group != MANIFESTS and not all(
                word.isidentifier() for word in (*module.split("."), *path.split("."))
            ):
                fault = f"the entry point {value!r} is no `module:attribute`"
            yield group, name or line, value, fault


def package_directories(name: str, path: tuple[str, ...]) -> Sequence[str]:
    """The directories of a top-level package, which is found but not imported."""
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, list(path))
        if spec is None:
            from importlib.util import find_spec  # also asks the finders of editable installations

            spec = find_spec(name)
    except Exception:  # noqa: BLE001  # a finder of somebody else's: then there is no manifest
        return ()
    return list(spec.submodule_search_locations or ()) if spec is not None else ()


def _distribution_reader(distribution: Any) -> Callable[[str], bytes]:
    def read(relative: str) -> bytes:
        try:
            data: bytes = distribution.locate_file(relative).read_bytes()
        except OSError:
            raise
        except Exception as error:  # archives say KeyError, custom finders anything
            raise FileNotFoundError(ENOENT, f"{type(error).__name__}: {error}", relative) from error
        return data

    return read


def _version(info: str, read: Callable[[str], bytes]) -> str:
    """The version by the name of the directory, or (egg-info without one) by PKG-INFO."""
    version = info.rpartition(".")[0].partition("-")[2]
    if version:
        return version.partition("-")[0]
    try:
        lines = read(f"{info}/PKG-INFO").decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Version:")), "")


def _canonical(name: str) -> str:
    """A distribution's name as package indexes spell it."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name

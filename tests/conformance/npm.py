"""Installs what comes from npm, with the Node that comes from PyPI: `installed("suite")`, `script(…)`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from tests.conformance import parts

__all__ = ["installed", "script"]

PLACE: Final = parts.ROOT / ".nox"
#: Seconds that it may take. Without a network npm gives up long before.
PATIENCE: Final = 300.0
_QUIET: Final = ("--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", "--fetch-timeout=60000")


def installed(name: str) -> Path:
    """The folder of the programs of `environments/NAME.npm`, installed once.

    Raises `Missing` where Node is not there, or npm cannot install them: it has said why, and is asked once.
    """
    found = _tried(name)
    if isinstance(found, parts.Missing):
        raise found
    return found


def script(name: str, file: Path) -> Path:
    """A script of ours where the modules of `environments/NAME.npm` are found: a copy beside them."""
    where = installed(name).parents[1] / file.name
    shutil.copyfile(file, where)
    return where


@cache
def _tried(name: str) -> Path | parts.Missing:
    wanted = (Path(__file__).parent / "environments" / f"{name}.npm").read_text(encoding="utf-8").split()
    try:
        programs = parts.node()
    except parts.Missing as missing:
        return missing
    where = PLACE / f"conformance-npm-{name}"
    stamp = where / "gleitzeit.stamp"
    key = hashlib.sha256("\0".join([str(programs), *wanted]).encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == key):
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        command = [str(programs / "npm"), "install", "--prefix", str(where), *_QUIET, *wanted]
        sys.stderr.write(f"npm install {' '.join(wanted)}\n")
        environment = {**os.environ, "PATH": parts.node_path()}
        try:
            subprocess.run(command, env=environment, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(where, ignore_errors=True)
            return parts.Missing(f"npm could not install {' '.join(wanted)}: {error}")
        stamp.write_text(key, encoding="utf-8")
    return where / "node_modules" / ".bin"

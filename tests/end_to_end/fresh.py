"""Environments that hold some distributions and what these need, made of what is installed here.

Nothing is downloaded or built: a new virtual environment gets links to the files of each distribution.
"""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ["Environment"]


class Environment:
    """A virtual environment with these distributions and all that they require."""

    def __init__(self, folder: Path, *names: str) -> None:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
        self.python = str(folder / "bin" / "python")
        [self.site] = (folder / "lib").glob("python*/site-packages")
        closure = _closure(names)
        #: All distributions in it.
        self.names = frozenset(closure)
        for found in closure.values():
            for name in _tops(found):
                target = self.site / name
                if not target.exists():
                    target.symlink_to(Path(str(found.locate_file(name))))

    def run(self, program: str, **environ: str) -> str:
        """What a program prints; fails with what it complains of."""
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.site), **environ}
        done = subprocess.run(
            [self.python, "-c", program],
            env=kept,
            cwd=self.site,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _tops(found: Distribution) -> Iterator[str]:
    """The folders and files right in site-packages that belong to a distribution."""
    tops = {path.parts[0] for path in found.files or ()}
    return (top for top in sorted(tops) if top not in ("..", "__pycache__"))


def _closure(names: Iterable[str]) -> dict[str, Distribution]:
    """The distributions and all that they require, by their names."""
    found: dict[str, Distribution] = {}
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        name = wanted.name.lower().replace("_", "-")
        if name in found:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            extras = wanted.extras or {""}
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": each}) for each in extras
            ):
                todo.append(requirement)
    return found

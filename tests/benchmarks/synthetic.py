"""Makes a folder of installed plugins: metadata, manifests, and code that tells when it is imported."""

from __future__ import annotations

import json
from pathlib import Path

#: The environment variable that names the file in which an imported plugin enters itself.
TELLTALE = "BENCH_IMPORTED"

_CODE = f'''
import os

from gleitzeit import Model, Provider, Reply

with open(os.environ["{TELLTALE}"], "a") as file:
    file.write(__name__ + "\\n")


class Idle(Provider):
    def provide_models(self):
        yield Model("small")

    async def call(self, request):
        return Reply("idle")
'''


def make(folder: Path, count: int) -> Path:
    """Fill `folder` with `count` installed provider plugins, to be put on the import path; gives it back."""
    for number in range(count):
        name, package = f"idle{number:03}", f"bench_idle_{number:03}"
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        distribution = package.replace("_", "-")
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        info.joinpath("entry_points.txt").write_text(
            f"[gleitzeit.providers]\n{name} = {package}:Idle\n\n"
            f"[gleitzeit.manifest]\n{name} = {package}:gleitzeit.json\n"
        )
        code = folder / package
        code.mkdir()
        code.joinpath("__init__.py").write_text(_CODE)
        manifest = {
            "name": name,
            "kind": "provider",
            "api_version": "1.0",
            "summary": "A plugin that nobody uses.",
            "models": [{"name": f"{size}-{number}", "operations": ["chat"]} for size in ("small", "large")],
            "patterns": [f"idle-{number}-*"],
            "hooks": ["provide_models", "call"],
        }
        code.joinpath("gleitzeit.json").write_text(json.dumps(manifest))
    return folder

"""What the listing commands cost with many plugins installed; they must import none."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks.process import BenchError, environment, interleaved, run
from tests.benchmarks.rows import Group
from tests.benchmarks.synthetic import TELLTALE, make
from tests.benchmarks.table import Progress

COUNT = 50
COMMANDS = ("--help", "plugins", "models")
#: What the installed console script does.
_MAIN = "import sys; from gleitzeit.cli import main; sys.exit(main())"
#: The same, and at the end the modules that were imported, as JSON in the last line.
_WATCHED = """
import json, sys
from gleitzeit.cli import main
code = main()
print()
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def measure(progress: Progress, quick: bool) -> Group:
    """CPU of `gleitzeit --help`, `plugins` and `models`, the interpreter included."""
    group = Group("listings", f"Listings with {COUNT} more plugins installed (CPU, interpreter included)")
    with tempfile.TemporaryDirectory() as folder:
        plugins = make(Path(folder, "plugins"), COUNT)
        home, telltale = Path(folder, "home"), Path(folder, "imported")
        home.mkdir()
        plain = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), TELLTALE: str(telltale)}
        env = environment(plugins, **plain)
        subjects = {"bare": partial(_cpu, ["-c", ""], env, folder)}
        imported: set[str] = set()
        for command in COMMANDS:
            imported |= _imported(command, env, folder)
            subjects[command] = partial(_cpu, ["-c", _MAIN, command], env, folder)
        none = environment(**plain)
        subjects["none"] = partial(_cpu, ["-c", _MAIN, "models"], none, folder)
        cpu = interleaved(subjects, 5 if quick else 25, progress.at)
        told = telltale.read_text().split() if telltale.exists() else []
    for command in COMMANDS:
        group.add(f"gleitzeit {command}", 1000 * cpu[command], "ms", limit=60)
    group.peer("the bare interpreter", 1000 * cpu["bare"], "ms", ours=None)
    group.peer(f"gleitzeit models without the {COUNT}", 1000 * cpu["none"], "ms", ours=1000 * cpu["models"])
    found = sorted(imported | set(told))
    group.add("plugins imported by any of them", len(found), "", limit=0, note=", ".join(found))
    return group


def _cpu(command: list[str], env: dict[str, str], cwd: str) -> float:
    return run(command, env=env, cwd=cwd).cpu


def _imported(command: str, env: dict[str, str], cwd: str) -> set[str]:
    """The plugins that the command imports; checks that it lists what there is."""
    *shown, modules = run(["-c", _WATCHED, command], env=env, cwd=cwd).out.decode().splitlines()
    if command != "--help" and not any(f"idle{COUNT - 1:03}" in line for line in shown):
        raise BenchError(f"`gleitzeit {command}` does not list the synthetic plugins")
    return {name for name in json.loads(modules) if name.startswith(("gleitzeit_plugin_", "bench_idle_"))}

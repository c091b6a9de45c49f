"""The sessions of this repository, as `python noxfile.py SESSION [-- ARGUMENTS]` or as `nox -s SESSION`.

As a script it needs Python 3.11+ and pip and nothing else: it makes an environment with nox (and uv, where it
can be had) under `.nox/` and goes on there. This file must parse on Python 2.7 and 3.4, to say there why it
will not run: no f-strings, no annotations, no keyword-only or twice starred arguments.
"""

from __future__ import print_function

import ast
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
CONSTRAINTS = os.path.join(ROOT, "tests", "constraints.txt")
CORE = os.path.join(ROOT, "core", "pyproject.toml")
BOOTSTRAP = os.path.join(ROOT, ".nox", "bootstrap")
NEEDS_GIT = ("conformance", "demo", "realserver", "tests")
BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")


# --- as a script: find or make the environment that has nox ---------------------------------------------


def main(arguments):
    """Check what is here, make the bootstrap environment, and hand over to nox in it."""
    wanted = oldest_python()
    if sys.version_info < wanted:
        return too_old(wanted)
    names, posargs = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        names, posargs = arguments[:at], arguments[at:]
    known = sessions()
    unknown = [name for name in names if name not in known]
    if not names or unknown:
        return usage(known, unknown)
    if shutil.which("git") is None and any(name in NEEDS_GIT for name in names):
        return say(
            "git is missing, and this session works on real repositories.",
            "Install it (Debian: apt install git; macOS: xcode-select --install), then run this again.",
        )
    try:
        python = bootstrap()
    except Trouble as trouble:
        return say(*trouble.args)
    command = [python, "-m", "nox", "-f", os.path.join(ROOT, "noxfile.py"), "-s"] + names + posargs
    if not works_with_uv():
        os.environ.setdefault("NOX_DEFAULT_VENV_BACKEND", "virtualenv")
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(python, command)
    return subprocess.call(command)  # elsewhere exec returns to the shell at once


class Trouble(Exception):
    """What went wrong and what to do; each argument is one line."""


def say(*lines):
    print("noxfile.py: " + "\n            ".join(lines), file=sys.stderr)
    return 2


def read(path):
    with io.open(path, encoding="utf-8") as file:
        return file.read()


def oldest_python():
    """The lower bound of `requires-python` in the metadata of the core, as a tuple."""
    try:
        found = re.search(r'requires-python\s*=\s*"\s*>=\s*(\d+)\.(\d+)', read(CORE))
    except (IOError, OSError):
        found = None
    return (int(found.group(1)), int(found.group(2))) if found else (3, 11)


def too_old(wanted):
    here = ".".join(str(part) for part in sys.version_info[:3])
    lines = ["Gleitzeit needs Python %d.%d or newer; this is %s (%s)." % (wanted + (here, sys.executable))]
    for minor in range(wanted[1] + 9, wanted[1] - 1, -1):
        name = "python%d.%d" % (wanted[0], minor)
        try:
            with open(os.devnull, "w") as nowhere:
                works = subprocess.call([name, "-c", ""], stdout=nowhere, stderr=nowhere) == 0
        except OSError:
            continue
        if works:
            lines.append("A newer one is here; run: %s noxfile.py %s" % (name, " ".join(sys.argv[1:])))
            return say(*lines)
    lines.append("Install one (Debian: apt install python3 python3-venv; or from python.org, pyenv, uv),")
    lines.append("then run this file with it, for example: python%d.%d noxfile.py tests" % wanted)
    return say(*lines)


def sessions():
    """Name and first line of every session in this file, without importing nox."""
    found = {}
    for node in ast.parse(read(os.path.join(ROOT, "noxfile.py"))).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            found[node.name] = (ast.get_docstring(node) or "").split("\n")[0]
    return found


def usage(known, unknown):
    asked = unknown and all(name in ("-h", "--help", "-l", "--list") for name in unknown)
    dashed = [] if asked else [name for name in unknown if name.startswith("-")]
    for name in unknown:
        if not name.startswith("-"):
            print("There is no session %r." % name)
    if dashed:
        print("Arguments for a session go after --, as in: python noxfile.py tests -- %s" % " ".join(dashed))
    print("usage: python noxfile.py SESSION [SESSION ...] [-- ARGUMENTS]\n")
    for name in sorted(known):
        print("  %-11s %s" % (name, known[name]))
    return 0 if asked else 2


def bootstrap():
    """The Python of an environment with the pinned nox, made when it is absent or stale."""
    python = os.path.join(BOOTSTRAP, BIN, "python" + EXE)
    pinned = re.findall(r"(?m)^(?:nox|uv|virtualenv)==.*$", read(CONSTRAINTS))
    key = digest([ROOT, os.path.realpath(sys.executable), sys.version] + pinned)
    stamp = os.path.join(BOOTSTRAP, "gleitzeit.stamp")
    if not (os.path.exists(python) and os.path.exists(stamp) and read(stamp) == key):
        print("noxfile.py: making .nox/bootstrap with nox in it (once)")
        sys.stdout.flush()
        # A moved tree or another Python: the environments of the sessions are stale too.
        shutil.rmtree(os.path.dirname(BOOTSTRAP), ignore_errors=True)
        fill(python, make(python))
        with io.open(stamp, "w", encoding="utf-8") as file:
            file.write(key)
    return python


def make(python):
    """Make the bootstrap environment with what is here; return the install command to use in it."""
    pip = [python, "-m", "pip", "install"]
    uv = shutil.which("uv")
    if has("venv", "ensurepip"):  # Debian ships venv without ensurepip, some builds ship neither
        command = [sys.executable, "-m", "venv", BOOTSTRAP]
    elif uv:
        command = [uv, "venv", "-q", "--python", sys.executable, BOOTSTRAP]
        pip = [uv, "pip", "install", "--python", python]
    elif has("virtualenv"):
        command = [sys.executable, "-m", "virtualenv", "-q", BOOTSTRAP]
    else:
        raise Trouble(
            "this Python cannot make an environment: its module `venv` or `ensurepip` is missing.",
            "Install it (Debian, Ubuntu: apt install python3-venv; elsewhere: pip install virtualenv), "
            "then run this again.",
        )
    if subprocess.call(command):
        raise Trouble("this command failed, see above: " + " ".join(command))
    return pip + ["-q", "-c", CONSTRAINTS]


def fill(python, install):
    """Install nox, and uv if it can be had; note whether uv reaches what pip reaches."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    if subprocess.call(install + ["nox"], env=environment):
        raise Trouble(
            "nox could not be installed, see above.",
            "Its version stands in tests/constraints.txt; check that pip can reach its package index.",
        )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not shutil.which("uv") and subprocess.call(install + ["uv"], env=environment, **quiet):
        return  # without uv everything works too, only slower
    probe = [uv_command(python), "pip", "install", "--python", python, "-c", CONSTRAINTS]
    probe += ["--dry-run", "--reinstall", "--no-deps", "nox"]
    environment.update(pip_settings(python))
    if subprocess.call(probe, env=environment, **quiet) == 0:
        io.open(os.path.join(BOOTSTRAP, "uv.works"), "w").close()


def works_with_uv():
    return os.path.exists(os.path.join(BOOTSTRAP, "uv.works"))


def has(*modules):
    """Whether this Python can import the modules."""
    code = "import " + ", ".join(modules)
    return subprocess.call([sys.executable, "-c", code], stderr=subprocess.DEVNULL) == 0


def uv_command(python):
    """The path of uv, from beside this Python or from PATH; None where there is none."""
    return shutil.which("uv", path=os.path.dirname(python)) or shutil.which("uv")


def pip_settings(python):
    """What pip is told about indexes and certificates, in the words of uv, which reads no pip.conf."""
    if any(name in os.environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS")):
        return {}  # uv is configured by itself
    command = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = {}
    for section in ("global.", "install.", ":env:."):  # pip's order, the strongest last
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            if value and key.startswith(section):
                settings[key[len(section) :]] = ast.literal_eval(value).split()
    names = {
        "index-url": ("UV_DEFAULT_INDEX", " "),
        "extra-index-url": ("UV_INDEX", " "),
        "find-links": ("UV_FIND_LINKS", ","),
        "trusted-host": ("UV_INSECURE_HOST", " "),
        "cert": ("SSL_CERT_FILE", " "),
    }
    chosen = {names[key][0]: names[key][1].join(value) for key, value in settings.items() if key in names}
    if settings.get("no-index", ["false"])[0].lower() not in ("0", "false", "no", "off"):
        chosen["UV_NO_INDEX"] = "1"
    if "UV_INDEX" in chosen:
        chosen["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip looks at all indexes alike
    if "SSL_CERT_FILE" in os.environ:
        chosen.pop("SSL_CERT_FILE", None)
    return chosen


def digest(texts):
    return hashlib.sha256("\0".join(texts).encode("utf-8")).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


# --- with nox: the sessions -------------------------------------------------------------------------------

import glob
import pathlib
import tomllib

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def packages():
    """The folders of every package of the workspace; a new one needs no edit here."""
    found = []
    for pattern in ("core", "plugins/*/*", "contrib/*"):
        found += sorted(glob.glob(os.path.join(glob.escape(ROOT), pattern, "pyproject.toml")))
    return [os.path.dirname(path) for path in found]


def group(name):
    """A dependency group of the pyproject at the root."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return tomllib.load(file)["dependency-groups"][name]


def install(session, steps, folders=None):
    """Install each step (a list of requirements), then the packages; nothing when that was done already."""
    if shutil.which("git") is None and session.name in NEEDS_GIT:
        session.error("git is missing; install it (Debian, Ubuntu: apt install git)")
    folders = packages() if folders is None else folders
    texts = [ROOT, sys.version, read(CONSTRAINTS), repr(steps)]
    texts += [path + read(os.path.join(path, "pyproject.toml")) for path in folders]
    key = digest(texts)
    stamp = os.path.join(session.virtualenv.location, "gleitzeit.stamp")
    if os.path.exists(stamp) and read(stamp) == key:
        return
    if os.path.exists(stamp):
        os.remove(stamp)
    settings = pip_settings(sys.executable) if session.virtualenv.venv_backend == "uv" else {}
    settings["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    for requirements in steps:
        session.install("-c", CONSTRAINTS, *requirements, env=settings)
    if folders:  # the build backend first, so that its version is the pinned one and it is fetched once
        session.install("-c", CONSTRAINTS, *group("build"), env=settings)
        session.install("--no-build-isolation", "-c", CONSTRAINTS, *editable(folders), env=settings)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(key)


def editable(folders):
    """One command for all, so that they find each other here and not on an index."""
    return [word for path in folders for word in ("-e", path)]


@nox.session
def demo(session):
    """Show what Gleitzeit does; needs no key. On a real model: -- --live --model NAME [--base-url URL]."""
    install(session, [group("demo")])
    session.run("python", os.path.join("contrib", "demo", "demo.py"), *session.posargs)


@nox.session
def tests(session):
    """Run the tests, on all cores; arguments go to pytest, as in: tests -- core -k stream, tests -- -n 0."""
    install(session, [group("tests")])
    # A file is one worker's, in its order. No more than four: what counts is what a container may use, not
    # what it sees. Not the files with most tests first: testpaths begins with those that take longest. One
    # seed of hashes for all: a worker must find the same tests in the same order, also where a set has them.
    workers = ["-n", "auto", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
    session.run("python", "-m", "pytest", *(workers + session.posargs), env={"PYTHONHASHSEED": "0"})


@nox.session
def lint(session):
    """Check format and lint with ruff. Repair: lint -- --fix."""
    install(session, [group("lint")], [])
    fix = "--fix" in session.posargs
    where = [word for word in session.posargs if word != "--fix"] or ["."]
    if fix:
        session.run("ruff", "check", "--fix", *where, success_codes=[0, 1])
    session.run("ruff", "format", *(where if fix else ["--check"] + where))
    session.run("ruff", "check", *where)


@nox.session
def types(session):
    """Check types with mypy --strict, in packages and tests; arguments: what to check instead."""
    install(session, [group("tests") + group("types")])
    sources = [os.path.join(path, "src") for path in packages()]
    folders = sources + [os.path.join(path, "tests") for path in packages()]
    folders += [os.path.join(ROOT, "tests"), os.path.join(ROOT, "contrib")]
    python = [path for path in folders if list(pathlib.Path(path).rglob("*.py"))]
    where = session.posargs or [os.path.relpath(path, ROOT) for path in python]
    path = os.pathsep.join(sources)
    session.run("mypy", "--strict", "--explicit-package-bases", *where, env={"MYPYPATH": path})


@nox.session
def bench(session):
    """Measure against the budgets and beside all peers, in one run; -- --quick, -- --write-docs."""
    install(session, [group("bench")])
    for pattern, users in (("*.txt", {"calls", "start"}), ("gateways/*.txt", {"gateways"})):
        if "--only" not in session.posargs or users.intersection(session.posargs):
            for path in sorted(pathlib.Path(ROOT, "tests", "benchmarks", "environments").glob(pattern)):
                where = os.path.join(ROOT, ".nox", "bench-peers", path.stem)
                side_environment(session, where, str(path))
    session.run("python", os.path.join("tests", "benchmarks", "bench.py"), *session.posargs)


def side_environment(session, where, requirements, variables=None):
    """The Python of an environment beside the session's, made once; None where that fails, which is told."""
    python = os.path.join(where, BIN, "python" + EXE)
    stamp = os.path.join(where, "gleitzeit.stamp")
    key = digest([ROOT, sys.version, read(requirements)])
    if os.path.exists(stamp) and read(stamp) == key:
        return python
    uv = uv_command(sys.executable)
    uv = uv if works_with_uv() or not os.path.exists(BOOTSTRAP) else None
    shutil.rmtree(where, ignore_errors=True)
    make_it = [uv, "venv", "-q", "--python"] if uv else [sys.executable, "-m", "virtualenv", "-q", "--python"]
    pip = [uv, "pip", "install", "-q", "--python", python] if uv else [python, "-m", "pip", "install", "-q"]
    settings = dict(pip_settings(sys.executable) if uv else {}, **(variables or {}))
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", **settings)
    for command in (make_it + [sys.executable, where], pip + ["-r", requirements]):
        session.log(" ".join(command))
        if subprocess.call(command, env=environment):
            shutil.rmtree(where, ignore_errors=True)
            session.warn("no environment %s, see above; the session goes on without it" % where)
            return None
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(key)
    return python


@nox.session
def reliability(session):
    """Put calls under faults, floods and cancellation; -- --quick, --only PART, --write-docs."""
    install(session, [group("reliability")])
    session.run("python", os.path.join("tests", "reliability", "session.py"), *session.posargs)


@nox.session
def conformance(session):
    """Hold MCP against its conformance suite and real servers and clients; -- --gate, --only PART."""
    install(session, [group("tests")])
    folder = os.path.join(ROOT, "tests", "conformance")
    found = {}
    gate = "--gate" in session.posargs
    for path in sorted(pathlib.Path(folder, "environments").glob("node.txt" if gate else "*.txt")):
        where = os.path.join(ROOT, ".nox", "conformance-" + path.stem)
        python = side_environment(session, where, str(path))
        if python is not None:  # what needs it is skipped there, with the reason
            found["CONFORMANCE_" + path.stem.upper()] = python
    session.run("python", os.path.join(folder, "session.py"), *session.posargs, env=found)


@nox.session
def replay(session):
    """Replay recorded traffic (../shared) to us and to the vendors' SDKs; -- --only ROW, --write-docs."""
    install(session, [group("tests")])
    session.run("python", os.path.join("tests", "replay", "session.py"), *session.posargs)


@nox.session
def realserver(session):
    """Run the tests against real model servers; installs torch, which is large, and compiles llama.cpp."""
    install(session, [group("torch"), group("realserver"), group("tests")])
    folder = os.path.join(ROOT, "tests", "realserver")
    environment = {"REALSERVER_MODELS": tiny_models(session, folder)}
    # Takes minutes and a C++ compiler; what reads pictures is left out, a third of it.
    parts = {"CMAKE_ARGS": (os.environ.get("CMAKE_ARGS", "") + " -DLLAVA_BUILD=OFF").strip()}
    where = os.path.join(ROOT, ".nox", "realserver-llama")
    llama = side_environment(session, where, os.path.join(folder, "llama.txt"), parts)
    if llama is None:
        session.warn(
            "llama-cpp-python could not be installed: its tests are skipped. It is compiled here and"
        )
        session.warn("needs a C and C++ compiler (Debian: apt install build-essential); then run this again.")
    else:
        environment["REALSERVER_LLAMA_PYTHON"] = llama
    # Servers that load torch may be slow to start where the machine is busy.
    command = [
        "python",
        "-m",
        "pytest",
        "tests/realserver",
        "-m",
        "realserver",
        "-o",
        "faulthandler_timeout=900",
    ]
    session.run(*(command + session.posargs), env=environment)


def tiny_models(session, folder):
    """The folder of the model that the servers serve, trained once: some twenty seconds."""
    where = os.path.join(ROOT, ".nox", "realserver-models")
    stamp = os.path.join(where, "gleitzeit.stamp")
    sources = [os.path.join(folder, name) for name in ("model.py", "convert.py")]
    key = digest([read(CONSTRAINTS), repr(group("torch"))] + [read(path) for path in sources])
    if not (os.path.exists(stamp) and read(stamp) == key):
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        tiny, file = os.path.join(where, "tiny"), os.path.join(where, "tiny.gguf")
        session.run("python", "-m", "tests.realserver.model", tiny)
        session.run("python", "-m", "tests.realserver.convert", tiny, file)
        with open(stamp, "w", encoding="utf-8") as written:
            written.write(key)
    return where


@nox.session(venv_backend="none")
def dev(session):
    """Make .venv with every package editable and all tools, and say how to activate it."""
    where = os.path.join(ROOT, ".venv")
    python = os.path.join(where, BIN, "python" + EXE)
    uv = uv_command(sys.executable)
    uv = uv if works_with_uv() or not os.path.exists(BOOTSTRAP) else None
    if not os.path.exists(python):
        command = [uv, "venv", "--python", sys.executable] if uv else [sys.executable, "-m", "virtualenv"]
        session.run(*(command + [where]), external=True)
    pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    pip += ["-q", "-c", CONSTRAINTS]
    tools = {word for name in ("build", "session", "tests", "lint", "types") for word in group(name)}
    settings = pip_settings(sys.executable) if uv else {}
    session.run(*(pip + sorted(tools)), env=settings, external=True)
    session.run(*(pip + ["--no-build-isolation"] + editable(packages())), env=settings, external=True)
    activate = ".venv\\Scripts\\activate" if os.name == "nt" else ". .venv/bin/activate"
    print("\nReady. Activate it with:  " + activate)
    print("then, for example:        python -m pytest core    ruff check    gleitzeit plugins")


@nox.session(venv_backend="none")
def pins(session):
    """Resolve tests/constraints.txt anew; arguments go to `uv pip compile`, as in: pins -- --upgrade."""
    uv = uv_command(sys.executable)
    if uv is None:
        session.error("this session needs uv: pip install uv")
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        groups = tomllib.load(file)["dependency-groups"]
    wanted = [word for name in sorted(groups) for word in groups[name]]
    wanted += ["-e %s[testing]" % path if path.endswith("core") else "-e " + path for path in packages()]
    source = os.path.join(session.create_tmp(), "pins.in")
    with open(source, "w", encoding="utf-8") as file:
        file.write("\n".join(wanted))
    flags = "--quiet --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links".split()
    flags += ["--python-version", "%d.%d" % oldest_python(), "-o", CONSTRAINTS, source]
    command = [uv, "pip", "compile"] + flags + session.posargs
    session.run(*command, env=pip_settings(sys.executable), external=True)
    # Not pinned: our own packages, and torch with what its builds bring, which differs by platform.
    drop = re.compile(r"-e |file:|(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==|[#\s]")
    kept = [line for line in read(CONSTRAINTS).splitlines() if line and not drop.match(line)]
    head = "# Exact versions of all that the sessions of noxfile.py install. Made by: python noxfile.py pins"
    with open(CONSTRAINTS, "w", encoding="utf-8") as file:
        file.write("\n".join([head] + kept) + "\n")

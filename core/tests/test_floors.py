"""The house stands: floors import downward only, names are public on purpose, importing is cheap."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gleitzeit

ROOT = Path(gleitzeit.__file__).parent
FLOORS = [
    {"errors", "values", "policy", "records", "version"},
    {"kinds", "hookspecs", "plugin"},
    {
        "discovery",
        "distributions",
        "manifest",
        "modeldata",
        "near",
        "lookalike",
        "contracts",
        "config",
        "standing",
        "process",
        "wire",
    },
    {"registry", "shaping", "catalogue", "stats"},
    {"resilience", "routing"},
    {"pipeline", "deferral", "conversation", "toolbox"},
    {"hooks", "health", "host", "servers", "status", "blocking"},
    {"listing", "cli", "testing", "__main__"},
]
ROOMS = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def modules():
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """The rooms that a module imports when it is itself imported, or ever."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("gleitzeit."):
                yield name.split(".")[1]


def test_every_module_has_its_floor():
    assert {room(path) for path in modules()} <= set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_floor_imports_from_above(path):
    here = ROOMS[room(path)]
    above = {name for name in imported(path) if ROOMS[name] > here}
    assert not above


def all_modules():
    for info in pkgutil.walk_packages([str(ROOT)], "gleitzeit."):
        if not info.name.endswith("__main__"):
            yield info.name


@pytest.mark.parametrize("name", sorted(all_modules()))
def test_every_public_module_says_what_is_public(name):
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it is"
    assert len(set(module.__all__)) == len(module.__all__)  # ruff keeps the order
    for public in module.__all__:
        assert hasattr(module, public)
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name and callable(value)
    }
    assert own <= set(module.__all__), "what is not public starts with an underscore"


#: What `import gleitzeit` may import beside itself: the budget is 20 ms over the bare interpreter.
ALLOWED = {
    "__future__",
    "_collections",
    "_functools",
    "_operator",
    "_sre",
    "_typing",
    "abc",
    "collections",
    "contextlib",
    "copyreg",
    "enum",
    "functools",
    "importlib",
    "itertools",
    "keyword",
    "operator",
    "re",
    "reprlib",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "types",
    "typing",
    "warnings",
}


def fresh(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_importing_gleitzeit_imports_next_to_nothing():
    new = fresh(
        "import sys, json; before = set(sys.modules); import gleitzeit;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    strangers = {name.split(".")[0] for name in new} - {"gleitzeit"} - ALLOWED
    assert not strangers
    assert {name for name in new if name.startswith("gleitzeit")} <= {"gleitzeit", "gleitzeit.version"}


def test_every_name_of_the_root_can_be_had():
    for name in gleitzeit.__all__:
        assert getattr(gleitzeit, name) is not None
    assert dir(gleitzeit) == sorted(gleitzeit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gleitzeit.nothing  # noqa: B018 - reading it is the test


def test_every_part_of_a_message_can_be_had_from_the_root():
    from typing import get_args

    from gleitzeit.values import Part

    assert {part.__name__ for part in get_args(Part)} <= set(gleitzeit.__all__)


def test_the_type_checkers_view_of_the_root_is_the_real_one():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    shown = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("gleitzeit"):
            shown |= {alias.name: node.module.removeprefix("gleitzeit.") for alias in node.names}
    assert shown == {**gleitzeit._WHERE, "API_VERSION": "version", "__version__": "version"}


def test_errors_form_the_tree_that_their_docstring_draws():
    from gleitzeit import errors

    drawn = [line.split("── ")[-1].split()[0] for line in errors.__doc__.splitlines() if "── " in line]
    classes = [name for name in errors.__all__ if name != "GleitzeitError"]
    assert sorted(drawn) == sorted(classes)
    codes = [getattr(errors, name).code for name in errors.__all__]
    assert len(set(codes)) == len(codes)

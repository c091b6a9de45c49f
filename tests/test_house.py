"""The repository keeps the shape that DESIGN §6 draws."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(
    path.parent
    for pattern in ("core", "plugins/*/*", "contrib/*")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
)
TOP = {"pyproject.toml", "core", "plugins", "contrib", "tests", "docs", "noxfile.py", "README.md", "LICENSE"}
LOCKS = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json"}


def tracked() -> list[Path]:
    """What git has, relative to the root; before the first commit, what it would take."""
    git = shutil.which("git")
    assert git, "git is missing"
    command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in names.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:  # a binary
            continue
    return found


def metadata(package: Path) -> dict[str, object]:
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(project, dict)
    return project


def test_top_level_holds_only_what_the_design_names() -> None:
    names = {path.parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP


def test_no_lock_file_is_tracked() -> None:
    assert [path for path in tracked() if path.name in LOCKS] == []


def test_no_file_names_a_registry_host() -> None:
    host = re.compile(
        r"\b(?:[\w-]+\.)*(?:pypi|npmjs|pythonhosted)\.(?:org|com|io|net)\b|https?://[^\s/]*pypi", re.I
    )
    found = [f"{path}: {match[0]}" for path, text in texts() for match in host.finditer(text)]
    assert [line for line in found if Path(__file__).name not in line] == []


def test_no_file_names_a_path_of_this_machine() -> None:
    if len(ROOT.parts) < 3:
        pytest.skip("this checkout lies so near the root that its path is an ordinary word")
    assert [path for path, text in texts() if f"{ROOT}/" in text] == []


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {path: text.count("\n") for path, text in texts() if path.suffix == ".py"}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_every_promise_that_a_test_claims_exists(shared: Path) -> None:
    promised = {line.split("\t")[0] for line in (shared / "seeds/features.tsv").read_text().splitlines()[1:]}
    claim = re.compile(r"^\s*@pytest\.mark\.feature\(([^)]*)\)", re.M)
    claims = {
        word
        for _, text in texts()
        for match in claim.finditer(text)
        for word in re.findall(r"S\d{3}-\d+", match[1])
    }
    assert claims <= promised


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
class TestPackage:
    def test_has_all_that_a_package_needs(self, package: Path) -> None:
        name = str(metadata(package)["name"]).replace("-", "_")
        wanted = ["LICENSE", "README.md", "tests", f"src/{name}/__init__.py", f"src/{name}/py.typed"]
        assert [path for path in wanted if not (package / path).exists()] == []

    def test_license_is_the_one_of_the_project(self, package: Path) -> None:
        assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()

    def test_has_the_version_and_the_python_of_the_core(self, package: Path) -> None:
        own, core = metadata(package), metadata(ROOT / "core")
        assert (own["version"], own["requires-python"]) == (core["version"], core["requires-python"])

    def test_plugin_asks_for_no_more_than_the_next_major_of_the_core(self, package: Path) -> None:
        dependencies = metadata(package)["dependencies"]
        assert isinstance(dependencies, list)
        asked = [word for word in dependencies if re.match(r"gleitzeit\b(?!-)", word)]
        assert asked == ([] if package.name == "core" else ["gleitzeit>=0.1,<1"])


def test_noxfile_parses_on_pythons_that_it_must_turn_away() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 4))
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.NamedExpr | ast.AnnAssign)
    ]
    for node in ast.walk(tree):  # what 2.7 and 3.4 refuse and feature_version lets pass
        if isinstance(node, ast.FunctionDef):
            assert not node.args.kwonlyargs, node.name
            assert not node.args.posonlyargs, node.name
            assert node.returns is None, node.name
        if isinstance(node, ast.Call):
            assert sum(isinstance(one, ast.Starred) for one in node.args) <= 1, node.lineno
            starred = [index for index, one in enumerate(node.args) if isinstance(one, ast.Starred)]
            assert starred in ([], [len(node.args) - 1]), node.lineno
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            assert not any(isinstance(one, ast.Starred) for one in node.elts), node.lineno
        if isinstance(node, ast.Raise):
            assert node.cause is None, node.lineno


def test_noxfile_lists_its_sessions_without_an_environment() -> None:
    command = [sys.executable, "-I", str(ROOT / "noxfile.py"), "no-such-session"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "There is no session 'no-such-session'." in result.stdout
    for name in (
        "conformance",
        "demo",
        "tests",
        "lint",
        "types",
        "bench",
        "dev",
        "realserver",
        "reliability",
    ):
        assert re.search(rf"^  {name} +\w.+\.$", result.stdout, re.M), name


def test_constraints_pin_exactly_and_name_no_place() -> None:
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[\w.+!]+(?: ; .+)?", line)] == []

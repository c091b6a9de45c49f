"""What is installed is found by metadata alone."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.discovery import SECTIONS, Index, scan
from gleitzeit.errors import PluginLoadError
from gleitzeit.kinds import KINDS


class Site:
    """A directory that looks like site-packages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        distribution: str,
        text: str,
        *,
        version: str = "1.0",
        code: str | None = "raise SystemExit('a plugin was imported')",
        manifest: object = None,
        info: str | None = None,
    ) -> Path:
        name = distribution.replace("-", "_")
        folder = self.root / (info or f"{name}-{version}.dist-info")
        folder.mkdir(parents=True)
        metadata = "PKG-INFO" if folder.suffix == ".egg-info" else "METADATA"
        (folder / metadata).write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(textwrap.dedent(text), encoding="utf-8")
        if code is not None:
            package = self.root / name
            package.mkdir(exist_ok=True)
            (package / "__init__.py").write_text(textwrap.dedent(code))
            if manifest is not None:
                raw = manifest if isinstance(manifest, str) else json.dumps(manifest)
                (package / "gleitzeit.json").write_text(raw)
        return folder

    def scan(self) -> Index:
        scan.cache_clear()
        return scan([str(self.root)])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path / "site")
    scan.cache_clear()


ACME = """
    [gleitzeit.providers]
    acme = gleitzeit_plugin_acme:Acme
"""
ACME_WITH_MANIFEST = (
    ACME
    + """
    [gleitzeit.manifest]
    acme = gleitzeit_plugin_acme:gleitzeit.json
"""
)


def test_sections_are_the_groups_of_the_contract() -> None:
    assert dict(SECTIONS) == {kind.section: name for name, kind in KINDS.items()}
    assert {f"gleitzeit.{section}" for section in SECTIONS} == {kind.group for kind in KINDS.values()}


def test_a_plugin_is_found_by_its_entry_point_without_importing_it(site: Site) -> None:
    site.add("gleitzeit-plugin-acme", ACME, version="2.3")
    entry = site.scan().find("provider", "acme")
    assert (entry.name, entry.kind, entry.value) == ("acme", "provider", "gleitzeit_plugin_acme:Acme")
    assert (entry.distribution, entry.version) == ("gleitzeit-plugin-acme", "2.3")
    assert entry.problem is None
    assert "gleitzeit_plugin_acme" not in sys.modules


@pytest.mark.parametrize("section", SECTIONS)
def test_every_group_is_read(site: Site, section: str) -> None:
    site.add("some-thing", f"[gleitzeit.{section}]\nx = some_thing:X\n")
    assert [entry.kind for entry in site.scan().entries] == [SECTIONS[section]]


def test_other_groups_are_left_alone(site: Site) -> None:
    site.add("other", "[console_scripts]\nx = other:main\n[gleitzeitlike]\ny = other:y\n")
    index = site.scan()
    assert index.entries == ()
    assert index.problems == ()


def test_comments_spaces_extras_and_a_byte_order_mark_are_no_matter(site: Site) -> None:
    text = "\ufeff; comment\n# comment\n\n [gleitzeit.providers] \n  a.b-c=some_thing.deep:X.Y [fast]\r\n"
    site.add("some-thing", text)
    entry = site.scan().find("provider", "a.b-c")
    assert entry.value == "some_thing.deep:X.Y"


@pytest.mark.parametrize(
    "line",
    ["x", "x =", "= some:X", "x = some", "x = some thing:X", "x = some:X Y", "x = a:b:c", "x = \udcff:X"],
)
def test_a_broken_line_is_a_fault_of_that_entry_alone(site: Site, line: str) -> None:
    folder = site.add("some-thing", "[gleitzeit.providers]\n")
    raw = f"[gleitzeit.providers]\n{line}\ngood = some_thing:X\n".encode(errors="surrogateescape")
    (folder / "entry_points.txt").write_bytes(raw)
    index = site.scan()
    assert index.find("provider", "good").problem is None
    broken = [entry for entry in index.entries if entry.name != "good"]
    assert [entry.fault is not None for entry in broken] == [True]
    with pytest.raises(PluginLoadError):
        broken[0].load()


def test_a_name_declared_twice_by_one_distribution_is_its_fault(site: Site) -> None:
    site.add("some-thing", "[gleitzeit.providers]\nx = some_thing:X\nx = some_thing:Y\n")
    entry = site.scan().find("provider", "x")
    assert entry.fault is not None
    assert "twice" in entry.fault


def test_an_unknown_group_of_ours_is_a_problem_with_a_suggestion(site: Site) -> None:
    site.add("some-thing", "[gleitzeit.provider]\nx = some_thing:X\n")
    [problem] = site.scan().problems
    assert "some-thing" in problem
    assert "did you mean 'gleitzeit.providers'?" in problem


def test_a_directory_in_place_of_the_file_is_a_problem(site: Site) -> None:
    folder = site.add("gleitzeit-plugin-acme", ACME)
    (folder / "entry_points.txt").unlink()
    (folder / "entry_points.txt").mkdir()
    index = site.scan()
    assert index.entries == ()
    assert "cannot be read" in index.problems[0]


def test_the_first_of_two_copies_on_the_path_is_the_one(tmp_path: Path) -> None:
    first, second = Site(tmp_path / "a"), Site(tmp_path / "b")
    first.add("gleitzeit-plugin-acme", ACME, version="1.0")
    second.add("Gleitzeit.Plugin_Acme", ACME, version="2.0", info="Gleitzeit.Plugin_Acme-2.0.dist-info")
    entries = scan([str(first.root), str(second.root), str(first.root)]).entries
    assert [entry.version for entry in entries] == ["1.0"]


def test_a_first_copy_without_the_plugin_hides_a_later_one_with_it(tmp_path: Path) -> None:
    first, second = Site(tmp_path / "a"), Site(tmp_path / "b")
    first.add("gleitzeit-plugin-acme", "[console_scripts]\n")
    second.add("gleitzeit-plugin-acme", ACME)
    assert scan([str(first.root), str(second.root)]).entries == ()


def test_of_two_versions_in_one_directory_the_last_installed_counts(site: Site) -> None:
    old = site.add("gleitzeit-plugin-acme", ACME, version="1.10")
    new = site.add("gleitzeit-plugin-acme", ACME, version="1.9")
    os.utime(old, (1, 1))
    os.utime(new, (2, 2))
    assert site.scan().find("provider", "acme").version == "1.9"


def test_what_pip_could_not_remove_is_not_installed(site: Site) -> None:
    site.add("gleitzeit-plugin-acme", ACME, info="~leitzeit_plugin_acme-1.0.dist-info")
    assert site.scan().entries == ()


def test_egg_info_without_a_version_in_its_name_is_read(site: Site) -> None:
    site.add("gleitzeit-plugin-acme", ACME, info="gleitzeit_plugin_acme.egg-info", version="3.1")
    entry = site.scan().find("provider", "acme")
    assert (entry.distribution, entry.version) == ("gleitzeit-plugin-acme", "3.1")


def test_egg_info_with_a_python_version_in_its_name_is_read(site: Site) -> None:
    site.add("gleitzeit-plugin-acme", ACME, info="gleitzeit_plugin_acme-3.2-py3.11.egg-info")
    assert site.scan().find("provider", "acme").version == "3.2"


def test_an_unpacked_egg_is_read(tmp_path: Path) -> None:
    egg = Site(tmp_path / "gleitzeit_plugin_acme-1.4-py3.11.egg")
    folder = egg.add("gleitzeit-plugin-acme", ACME, info="EGG-INFO")
    (folder / "METADATA").rename(folder / "PKG-INFO")
    (folder / "PKG-INFO").write_text("Name: gleitzeit-plugin-acme\nVersion: 1.4\n")
    entry = egg.scan().find("provider", "acme")
    assert (entry.distribution, entry.version) == ("gleitzeit-plugin-acme", "1.4")


def test_absent_directories_and_files_that_are_no_archives_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    index = scan([str(tmp_path / "absent"), str(tmp_path / "text")])
    assert index.entries == ()


def zipped(tmp_path: Path, manifest: bool = True) -> Path:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        info = "gleitzeit_plugin_acme-1.0.dist-info"
        bundle.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: gleitzeit-plugin-acme\nVersion: 1.0\n"
        )
        bundle.writestr(f"{info}/entry_points.txt", textwrap.dedent(ACME_WITH_MANIFEST))
        bundle.writestr("gleitzeit_plugin_acme/__init__.py", "raise SystemExit")
        if manifest:
            bundle.writestr("gleitzeit_plugin_acme/gleitzeit.json", '{"name": "acme", "summary": "zipped"}')
    return archive


def test_a_plugin_in_an_archive_is_found_with_its_manifest(tmp_path: Path) -> None:
    entry = scan([str(zipped(tmp_path))]).find("provider", "acme")
    assert entry.manifest is not None
    assert entry.manifest.summary == "zipped"


def test_a_manifest_missing_in_an_archive_is_a_problem(tmp_path: Path) -> None:
    entry = scan([str(zipped(tmp_path, manifest=False))]).find("provider", "acme")
    assert entry.manifest is None
    assert entry.problem is not None
    assert entry.fault is None


class Finder:
    """Finds one distribution that lies nowhere on the path."""

    def __init__(self, distributions: list[Any]) -> None:
        self._distributions = distributions

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: object) -> list[Any]:
        return self._distributions


def test_a_custom_finder_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib_metadata

    folder = site.add(
        "gleitzeit-plugin-acme", ACME_WITH_MANIFEST, manifest={"name": "acme", "summary": "found"}
    )
    finder = Finder([importlib_metadata.PathDistribution(folder)])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    scan.cache_clear()
    entry = scan([]).find("provider", "acme")
    assert entry.manifest is not None
    assert entry.manifest.summary == "found"


def test_a_distribution_known_already_is_not_taken_from_a_finder(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib_metadata

    site.add("gleitzeit-plugin-acme", ACME, version="1.0")
    other = Site(tmp_path / "other").add("Gleitzeit_Plugin.Acme", ACME, version="2.0")
    monkeypatch.setattr(
        sys, "meta_path", [*sys.meta_path, Finder([importlib_metadata.PathDistribution(other)])]
    )
    assert [entry.version for entry in site.scan().entries] == ["1.0"]


def test_the_path_is_scanned_where_a_frozen_application_has_no_path_finder(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("gleitzeit-plugin-acme", ACME)
    monkeypatch.setattr(sys, "meta_path", [])
    assert [entry.name for entry in site.scan().entries] == ["acme"]


def test_a_custom_finder_that_fails_is_a_problem_and_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("gleitzeit-plugin-acme", ACME)
    monkeypatch.setattr(sys, "meta_path", [Finder([object()]), *sys.meta_path])
    index = site.scan()
    assert [entry.name for entry in index.entries] == ["acme"]
    assert "AttributeError" in index.problems[0]


class TestManifest:
    def test_is_read_from_the_distribution_without_importing(self, site: Site) -> None:
        manifest = {"name": "acme", "summary": "Makes things", "models": ["acme-1", {"name": "acme-2"}]}
        site.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST, manifest=manifest)
        entry = site.scan().find("provider", "acme")
        assert entry.manifest is not None
        assert entry.manifest.summary == "Makes things"
        assert [row["name"] for row in entry.manifest.model_rows] == ["acme-1", "acme-2"]
        assert "gleitzeit_plugin_acme" not in sys.modules

    def test_is_found_where_an_editable_installation_points(self, tmp_path: Path) -> None:
        installed, source = Site(tmp_path / "site"), tmp_path / "src"
        installed.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST, code=None)
        package = source / "gleitzeit_plugin_acme"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemExit")
        (package / "gleitzeit.json").write_text('{"name": "acme", "summary": "editable"}')
        entry = scan([str(installed.root), str(source)]).find("provider", "acme")
        assert entry.manifest is not None
        assert entry.manifest.summary == "editable"

    def test_is_found_by_the_finder_of_an_editable_installation(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST, code=None)
        package = tmp_path / "elsewhere" / "gleitzeit_plugin_acme"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemExit")
        (package / "gleitzeit.json").write_text('{"name": "acme", "summary": "mapped"}')

        class Editable:
            @staticmethod
            def find_spec(name: str, path: object = None, target: object = None) -> Any:
                if name != "gleitzeit_plugin_acme":
                    return None
                return importlib.util.spec_from_file_location(name, package / "__init__.py")

        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
        manifest = site.scan().find("provider", "acme").manifest
        assert manifest is not None
        assert manifest.summary == "mapped"

    @pytest.mark.parametrize(
        "text, said",
        [
            ("{", "is no JSON"),
            ("[]", "expected an object"),
            ("{}", "name: expected a text"),
            ('{"name": "other"}', "the file says 'other', the entry point 'acme'"),
            ('{"name": "acme", "kind": "exporter"}', "the file says 'exporter', the entry point 'provider'"),
            ('{"name": "acme", "models": [{"context_tokens": 1}]}', "models[0]: expected a name"),
            ('{"name": "acme", "patterns": "gpt-*"}', "patterns: expected a list of texts"),
            ("[" * 100_000, "is no JSON"),
            ("\udcff", "is no JSON"),
        ],
    )
    def test_that_is_broken_is_a_problem_and_the_plugin_stays(self, site: Site, text: str, said: str) -> None:
        site.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST, manifest="{}", code="class Acme: pass")
        file = site.root / "gleitzeit_plugin_acme" / "gleitzeit.json"
        file.write_bytes(text.encode(errors="surrogateescape"))
        entry = site.scan().find("provider", "acme")
        assert entry.manifest is None
        assert entry.problem is not None
        assert said in entry.problem
        assert entry.fault is None

    def test_that_is_missing_is_a_problem(self, site: Site) -> None:
        site.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST)
        assert "No such file" in str(site.scan().find("provider", "acme").problem)

    @pytest.mark.parametrize(
        "value", ["gleitzeit_plugin_acme:../secret.json", "..:x.json", "gleitzeit_plugin_acme:/x"]
    )
    def test_cannot_lie_outside_of_its_package(self, site: Site, value: str) -> None:
        (site.root / "secret.json").write_text('{"name": "acme"}')
        site.add("gleitzeit-plugin-acme", f"{ACME}\n[gleitzeit.manifest]\nacme = {value}\n")
        entry = site.scan().find("provider", "acme")
        assert entry.manifest is None
        assert "is no `package:file.json`" in str(entry.problem)

    def test_without_a_plugin_is_a_problem(self, site: Site) -> None:
        site.add("some-thing", "[gleitzeit.manifest]\nx = some_thing:gleitzeit.json\n")
        assert "belongs to no plugin" in site.scan().problems[0]

    def test_belongs_to_the_kind_that_it_names_where_two_share_a_name(self, site: Site) -> None:
        text = """
            [gleitzeit.providers]
            x = some_thing:P
            [gleitzeit.exporters]
            x = some_thing:E
            [gleitzeit.manifest]
            x = some_thing:gleitzeit.json
        """
        site.add("some-thing", text, manifest={"name": "x", "kind": "exporter"})
        index = site.scan()
        assert index.find("exporter", "x").manifest is not None
        assert index.find("provider", "x").manifest is None
        assert index.find("provider", "x").problem is None

    def test_is_not_read_before_somebody_looks(self, site: Site) -> None:
        site.add("gleitzeit-plugin-acme", ACME_WITH_MANIFEST, manifest="{}")
        entry = site.scan().find("provider", "acme")
        file = site.root / "gleitzeit_plugin_acme" / "gleitzeit.json"
        file.write_text('{"name": "acme", "summary": "late"}')
        assert entry.manifest is not None
        assert entry.manifest.summary == "late"


class TestMemo:
    def test_holds_until_it_is_cleared(self, site: Site) -> None:
        before = site.scan()
        site.add("gleitzeit-plugin-acme", ACME)
        assert scan([str(site.root)]) is before
        scan.cache_clear()
        assert [entry.name for entry in scan([str(site.root)]).entries] == ["acme"]

    def test_knows_paths_apart(self, site: Site, tmp_path: Path) -> None:
        site.add("gleitzeit-plugin-acme", ACME)
        assert len(site.scan().entries) == 1
        assert scan([str(tmp_path)]).entries == ()


def test_what_pip_sees_of_this_environment_is_what_we_see() -> None:
    import importlib_metadata

    scan.cache_clear()
    theirs = {
        (SECTIONS[point.group.removeprefix("gleitzeit.")], point.name, point.value)
        for point in importlib_metadata.entry_points()
        if point.group.removeprefix("gleitzeit.") in SECTIONS
    }
    assert {(entry.kind, entry.name, entry.value) for entry in scan().entries} == theirs


def test_a_large_environment_is_read_once_in_few_steps_and_nothing_heavy_is_imported(site: Site) -> None:
    for number in range(500):
        site.add(f"other-{number}", "[console_scripts]\nx = other:main\n", code=None)
    for number in range(50):
        name = f"gleitzeit-plugin-p{number}"
        package = name.replace("-", "_")
        text = f"[gleitzeit.providers]\np{number} = {package}:P\n"
        text += f"[gleitzeit.manifest]\np{number} = {package}:gleitzeit.json\n"
        models = [{"name": f"model-{each}", "operations": ["chat"]} for each in range(10)]
        schema = {
            "properties": {f"key{each}": {"type": "string", "description": "x" * 50} for each in range(12)}
        }
        manifest = {"name": f"p{number}", "models": models, "config_schema": schema}
        site.add(name, text, manifest=manifest)
    code = f"""
        import collections, json, sys
        import gleitzeit.discovery as discovery, gleitzeit.config as config
        opened, calls = collections.Counter(), collections.Counter()
        def watch(event, arguments):
            if event in ("open", "os.scandir", "os.listdir") and str(arguments[0]).startswith(root):
                opened[str(arguments[0])] += 1
        def step(frame, event, argument):
            calls[event] += 1
        root = {str(site.root)!r}
        sys.addaudithook(watch)
        sys.setprofile(step)
        index = discovery.scan([root])
        models = sum(len(entry.manifest.model_rows) for entry in index.entries)
        sys.setprofile(None)
        config.load(environ={{}}, index=index)
        heavy = {{"asyncio", "attr", "attrs", "httpx2", "msgspec", "pluggy", "pydantic"}}
        print(json.dumps([models, opened, calls["call"] + calls["c_call"], sorted(heavy & set(sys.modules))]))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        cwd=site.root,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(importlib.import_module("gleitzeit").__file__ or "").parents[1]),
        },
    )
    models, opened, calls, heavy = json.loads(run.stdout)
    assert models == 500
    assert heavy == []
    # The directory, the entry points of all, the manifests of ours, each once; no METADATA, no code.
    assert set(opened.values()) == {1}
    assert {Path(path).name for path in opened} == {site.root.name, "entry_points.txt", "gleitzeit.json"}
    assert len(opened) == 1 + 550 + 50
    # Calls stand for time, which `bench` measures. Some 31,000 when this was written; what grows with the
    # square of the number of distributions is far above.
    assert calls < 60_000

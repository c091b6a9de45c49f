"""A plugin is found by kind and name, and loaded, or the error says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import AmbiguousPluginError, PluginLoadError, PluginNotFoundError

ACME = Entry("acme", kind="provider", value="acme:A", distribution="gleitzeit-plugin-acme", version="1.0")
TWO = Index(
    Entry("acme", kind="provider", value=f"{name}:A", distribution=f"acme-{name}", version=version)
    for name, version in (("one", "1.0"), ("two", "2.0"))
)


class TestFind:
    def test_missing_plugin_says_what_to_install(self) -> None:
        with pytest.raises(PluginNotFoundError, match="pip install gleitzeit-plugin-acme"):
            Index().find("provider", "acme")

    def test_missing_wire_says_what_to_install(self) -> None:
        with pytest.raises(PluginNotFoundError, match="pip install gleitzeit-plugin-mcp-stdio"):
            Index().find("transport", "stdio")

    def test_missing_plugin_names_near_ones(self) -> None:
        with pytest.raises(PluginNotFoundError, match="did you mean 'acme'"):
            Index([ACME]).find("provider", "Acmee")

    def test_plugin_of_another_kind_is_told(self) -> None:
        with pytest.raises(PluginNotFoundError, match="of kind provider"):
            Index([ACME]).find("exporter", "acme")

    def test_two_distributions_with_one_name_are_ambiguous(self) -> None:
        with pytest.raises(AmbiguousPluginError) as caught:
            TWO.find("provider", "acme")
        assert "acme-one 1.0 and acme-two 2.0" in caught.value.message
        assert '[host] deny = ["acme-two"]' in str(caught.value.hint)

    @pytest.mark.parametrize(
        "lists, chosen",
        [({"deny": ["acme_t*"]}, "acme-one"), ({"allow": ["acme-two"]}, "acme-two")],
    )
    def test_the_lists_of_the_operator_settle_it(self, lists: dict[str, Any], chosen: str) -> None:
        assert TWO.find("provider", "acme", **lists).distribution == chosen

    def test_one_name_in_two_groups_is_not_ambiguous(self) -> None:
        index = Index([ACME, Entry("acme", kind="http", value="acme:H")])
        assert index.find("provider", "acme") is ACME
        assert [entry.value for entry in index.of_kind("http")] == ["acme:H"]


class TestLoad:
    def test_gives_what_the_entry_point_names(self) -> None:
        loaded = Entry("x", kind="plain", value="collections:OrderedDict.fromkeys").load()
        assert loaded({"a": 1}) == {"a": None}

    @pytest.mark.parametrize("code", ["raise SystemExit(3)", "1 / 0", "import a_module_that_is_not_there"])
    def test_failure_is_a_plugin_error_with_its_cause(
        self, tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_plugin.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        entry = Entry("x", kind="plain", value="broken_plugin:X", distribution="broken-plugin")
        with pytest.raises(PluginLoadError, match="'x' of broken-plugin cannot be imported") as caught:
            entry.load()
        assert caught.value.__cause__ is not None
        assert "python -c 'import broken_plugin'" in str(caught.value.hint)

    def test_missing_attribute_is_told(self) -> None:
        with pytest.raises(PluginLoadError, match="module collections has no 'Nothing'"):
            Entry("x", kind="plain", value="collections:Nothing").load()

    def test_plugin_handed_over_in_person_is_given_back(self) -> None:
        plugin = type("P", (), {})
        assert Entry("x", kind="plain", value="tests:P", plugin=plugin).load() is plugin

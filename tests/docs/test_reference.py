"""Every hook, error, setting and state stands in the reference, with what the code says of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs
import pytest

import gleitzeit
from gleitzeit import errors, kinds
from gleitzeit.config import HostConfig, RouteConfig, codes
from gleitzeit.config.profiles import NAMES
from gleitzeit.config.servers import SERVER
from gleitzeit.config.shape import HOST, INSTANCE, ROUTE, TOOLSET
from gleitzeit.config.tables import CALLED, DEFAULTS, TABLES, TOOL
from gleitzeit.hookspecs import HOOKS, HookSpecs
from gleitzeit.kinds import KINDS
from gleitzeit.values import State
from gleitzeit.wire.client import CONNECT_TIMEOUT, MAX_CONNECTIONS
from tests.docs.pages import ROOT
from tests.docs.workshop import packages


def table(page: str, *titles: str, room: str = "reference") -> list[dict[str, str]]:
    """The rows of the page's table with these first columns; code marks are left out."""
    lines = (ROOT / "docs" / room / page).read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, str]] = []
    names: list[str] = []
    for line in lines:
        cells = (
            [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        )
        if not cells:
            names = []
        elif not names:
            names = cells
        elif set(line) - set("|-") and tuple(names[: len(titles)]) == titles:
            rows.append(dict(zip(names, cells, strict=True)))
    assert rows, f"{page} has no table with the columns {', '.join(titles)}"
    return rows


def test_every_error_is_in_the_tree_as_the_code_has_it() -> None:
    classes = {name: getattr(errors, name) for name in errors.__all__}
    rows = {row["class"]: row for row in table("errors.md", "class", "under")}
    assert list(rows) == [name for name in drawn() if name in rows], "keep the order of the docstring"
    assert set(rows) == set(classes)
    for name, cls in classes.items():
        row = rows[name]
        assert row["under"] == ("" if cls is errors.GleitzeitError else cls.__base__.__name__), name
        assert (row["code"], row["exit code"]) == (cls.code, str(cls.exit_code)), name
        assert (row["retryable"], row["fallback"]) == (word(cls.retryable), word(cls.fallback)), name
        assert row["counts"] == word(cls.counts), name


def drawn() -> list[str]:
    """The classes in the order of the tree that the module draws."""
    return re.findall(r"\w+Error", errors.__doc__ or "")


def word(yes: bool) -> str:
    return "yes" if yes else "no"


def test_every_field_of_an_error_is_told() -> None:
    told = {name for row in table("errors.md", "field", "meaning") for name in row["field"].split(", ")}
    error = errors.GleitzeitError("x")
    assert told == {
        *vars(error),
        "code",
        "exit_code",
        "retryable",
        "fallback",
        "counts",
        "limits",
        "attempts",
    }


def test_every_hook_is_told_with_its_signature() -> None:
    rows = {row["hook"]: row["signature"] for row in table("hooks.md", "hook", "signature")}
    assert list(rows) == list(HOOKS)
    for name, told in rows.items():
        function = getattr(HookSpecs, name)
        parameters = []
        for parameter in inspect.signature(function).parameters.values():
            bare = parameter.replace(annotation=parameter.empty)
            parameters.append(str(bare))
        mark = "async " if inspect.iscoroutinefunction(function) else ""
        assert told == f"{mark}({', '.join(parameters)})", name


def test_every_state_is_told() -> None:
    assert [row["state"] for row in table("plugin-states.md", "state")] == [state.value for state in State]


def test_every_setting_of_the_host_is_told_with_its_default() -> None:
    # [host], then [host.http] with its keys dotted
    rows = {
        key: row
        for row in table("configuration.md", "key", "meaning", "default")
        for key in row["key"].split(", ")
    }
    properties = HOST["properties"]
    http = properties["http"]["properties"]
    keys = [key for key in properties if key != "http"] + [f"http.{key}" for key in http]
    assert [key for key in rows if key in keys] == keys
    defaults = HostConfig()
    for key in ("timeout", "hook_timeout", "start_timeout", "drain_timeout", "health_interval"):
        assert float(rows[key]["default"]) == getattr(defaults, key), key
    assert rows["http.verify_ssl"]["default"] == str(defaults.http.verify_ssl).lower()
    assert rows["http.max_connections"]["default"] == str(MAX_CONNECTIONS)
    assert float(rows["http.connect_timeout"]["default"]) == defaults.http.connect_timeout == CONNECT_TIMEOUT


def test_every_table_of_limits_is_told_with_its_keys_and_defaults() -> None:
    tables = table("configuration.md", "table", "what it says", "in [host]")
    assert [row["table"] for row in tables] == list(TABLES)
    assert [row["table"] for row in tables if row["in [host]"] == "yes"] == list(DEFAULTS)
    assert set(CALLED) - set(TABLES) == {"targets", "tools"}
    rows = {row["key of a table"]: row for row in table("configuration.md", "key of a table", "meaning")}
    keys = {
        f"{name}.{key}": item for name, schema in TABLES.items() for key, item in schema["properties"].items()
    }
    assert list(rows) == list(keys)
    for key, schema in keys.items():
        if "default" in schema:
            told = rows[key]["default"]
            assert told == ("true" if schema["default"] is True else f"{schema['default']:g}"), key


def test_every_key_of_tools_and_sets_of_tools_is_told() -> None:
    for title, keys in (("of a tool", TOOL), ("of a set", TOOLSET["properties"])):
        assert [row[title] for row in table("configuration.md", title, "meaning")] == list(keys)


def test_every_word_for_an_error_is_told() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    told = {word.casefold() for word in re.findall(r"`(\w+)`", page)}
    own_codes = {getattr(errors, name).code for name in errors.__all__}
    assert set(codes.NAMES) - own_codes <= told


def test_every_key_of_instances_and_routes_is_told() -> None:
    rows = {row["key"]: row for row in table("configuration.md", "key", "meaning", "default")}
    for schema in (INSTANCE, ROUTE):
        assert [key for key in rows if key in schema["properties"]] == list(schema["properties"])
    assert RouteConfig("r", targets=()).strategy in rows["strategy"]["default"]


def test_every_key_of_servers_is_told() -> None:
    told = [key for row in table("configuration.md", "key", "meaning") for key in row["key"].split(", ")]
    assert [key for key in told if key in SERVER["properties"]] == list(SERVER["properties"])


def test_every_section_is_told() -> None:
    told = [re.sub(r"[\[\]]|\.NAME.*", "", row["section"]) for row in table("configuration.md", "section")]
    assert told == [*NAMES, "profiles"]


def test_every_module_of_the_core_stands_on_a_floor() -> None:
    rows = table("design.md", "floor", "modules of gleitzeit", room="explanation")
    told = {name for row in rows for name in row["modules of gleitzeit"].split(", ")}
    package = Path(inspect.getfile(gleitzeit)).parent
    assert told == {
        path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__", "__main__"}


def test_every_kind_of_plugin_is_told() -> None:
    rows = table("design.md", "kind", "entry-point group", room="explanation")
    assert {row["kind"]: row["entry-point group"] for row in rows} == {
        name: kind.group for name, kind in KINDS.items()
    }


def test_every_contract_is_told_with_the_parameters_of_its_methods() -> None:
    for row in table("hooks.md", "kind", "protocol", "methods"):
        protocol = getattr(kinds, row["protocol"])
        told = dict(re.findall(r"(\w+)\(([\w, ]*)\)", row["methods"]))
        if protocol is kinds.Ending:
            assert all(field.name in row["methods"] for field in attrs.fields(protocol))
            continue
        methods = {name: value for name, value in vars(protocol).items() if inspect.isfunction(value)}
        for name, parameters in told.items():
            assert list(inspect.signature(methods[name]).parameters)[1:] == parameters.split(", "), name
        assert told.keys() == {name for name in methods if not name.startswith("_")}


def test_every_package_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, folder in packages().items():
        assert f"| [`{name}`]({folder.relative_to(ROOT)}) |" in text


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#\s]+)", text))


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []

"""`plugins`, `models` and `tools`, and the rows behind them."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit import listing
from gleitzeit.config import load
from gleitzeit.discovery import SECTIONS, scan
from gleitzeit.host import Host
from gleitzeit.values import State

SUMMARY = ["Does", "as", "it", "is", "told."]
Run = Callable[..., Any]


def rows(result: Any, of: str, **fields: str) -> list[dict[str, Any]]:
    """The rows of a JSON listing with these fields."""
    return [row for row in result.json()[of] if all(row[key] == value for key, value in fields.items())]


def test_two_instances_of_one_plugin_are_two_rows(desk: Any, run: Run) -> None:
    desk.config('[providers.one]\nplugin = "desk"\n[providers.two]\nplugin = "desk"\n')
    found = rows(run("plugins", "--json"), "plugins", plugin="desk")
    assert [(row["instance"], row["distribution"], row["version"]) for row in found] == [
        ("one", "gleitzeit-plugin-desk", "1.0"),
        ("two", "gleitzeit-plugin-desk", "1.0"),
    ]


def test_table_of_plugins_says_what_each_is(desk: Any, run: Run) -> None:
    [line] = [line for line in run("plugins").lines if line.startswith("desk")]
    assert line.split() == [
        "desk",
        "desk",
        "provider",
        "discovered",
        "gleitzeit-plugin-desk",
        "1.0",
        *SUMMARY,
    ]


@pytest.mark.parametrize(
    "config, state, reason",
    [
        ('[providers.x]\nplugin = "desk"\nenabled = false', "disabled", "enabled = false"),
        ('[providers.x]\nplugin = "desc"', "missing", "did you mean 'desk'"),
        ('[host]\ndeny = ["*-desk"]\n[providers.x]\nplugin = "desk"', "disabled", "host.deny"),
        ('[host]\nallow = ["other"]\n[providers.x]\nplugin = "desk"', "disabled", "host.allow"),
        ('[providers.x]\nplugin = "future"', "incompatible", "plugin API 9.0"),
        ('[providers.x]\nplugin = "broken"', "invalid", "module:attribute"),
        ('[providers.x]\nplugin = "twice"', "invalid", "one and"),
        ('[providers.x]\nplugin = "desk"\nkey = "${NOT_SET_ANYWHERE}"', "invalid", "NOT_SET_ANYWHERE"),
        ('[providers.x]\nplugin = "desk"', "discovered", ""),
    ],
    ids=["disabled", "missing", "denied", "not-allowed", "incompatible", "broken", "twice", "unset", "good"],
)
def test_state_of_an_instance_and_why(desk: Any, run: Run, config: str, state: str, reason: str) -> None:
    desk.plugin("future", api_version="9.0")
    desk.install("broken", "", "[gleitzeit.providers]\nbroken = gleitzeit_plugin_broken\n")
    for name in ("one", "two"):
        desk.install(name, "", f"[gleitzeit.providers]\ntwice = gleitzeit_plugin_{name}:Plugin\n")
    desk.config(config)
    [row] = rows(run("plugins", "--json"), "plugins", instance="x")
    assert row["state"] == state
    assert reason.replace("one and", "gleitzeit-plugin-one 1.0 and") in row["reason"]


async def test_states_are_those_that_a_host_begins_with(desk: Any) -> None:
    desk.plugin("future", api_version="9.0")
    desk.plugin("needy", config_schema={"type": "object", "required": ["key"]})
    desk.plugin("gate", kind="plugins")
    path = desk.config(
        """
        [host]
        deny = ["*-gate"]
        [providers.off]
        plugin = "desk"
        enabled = false
        [providers.gone]
        [providers.future]
        [servers.clock]
        command = "clock"
        [plugins.gate]
        """
    )
    index = scan()
    config = load(path, index=index)
    said = {(row.kind, row.instance): row.state for row in listing.plugins(index, config) if row.instance}
    async with Host(config, index=index) as host:
        begun = {(each.kind, each.name): each.state.value for each in await host.health()}
    assert said == begun


def test_words_for_states_and_kinds_are_those_of_the_contract(desk: Any, run: Run) -> None:
    found = run("plugins", "--json").json()["plugins"]
    assert {row["state"] for row in found} <= {state.value for state in State}
    assert {row["kind"] for row in found} <= set(SECTIONS.values())


def test_plugin_that_needs_configuration_says_so(site: Any, run: Run) -> None:
    site.plugin("needy", config_schema={"type": "object", "required": ["key"]})
    [row] = rows(run("plugins", "--json"), "plugins", plugin="needy")
    assert (row["instance"], row["reason"]) == ("", "not configured; it needs key")


def test_broken_manifest_is_a_reason_but_no_obstacle(site: Any, run: Run) -> None:
    site.plugin("odd", summary=5)
    [row] = rows(run("plugins", "--json"), "plugins", plugin="odd")
    assert row["state"] == "discovered"
    assert "summary: expected a text" in row["reason"]


def test_server_without_a_sandbox_shows_none(site: Any, run: Run) -> None:
    site.config('[servers.clock]\ncommand = "clock"\n[servers.far]\nurl = "http://127.0.0.1:1/mcp"\n')
    boxes = {row["instance"]: row["sandbox"] for row in run("plugins", "--json").json()["plugins"]}
    assert boxes["clock"] == "none"
    [line] = [line for line in run("plugins").lines if line.startswith("clock")]
    assert " none " in line


def test_server_shows_the_sandbox_that_is_configured(site: Any, run: Run) -> None:
    site.config('[servers.clock]\ncommand = "clock"\nsandbox = "bubblewrap"\n')
    [row] = rows(run("plugins", "--json"), "plugins", instance="clock")
    assert row["sandbox"] == "bubblewrap"


def test_live_plugins_are_active_or_failed_with_the_reason(desk: Any, run: Run) -> None:
    desk.plugin("bad", summary="Ends the interpreter when it is imported.")
    desk.config('[providers.one]\nplugin = "desk"\n[providers.bad]\n')
    result = run("plugins", "--live", "--json")
    [one], [bad] = (rows(result, "plugins", instance=name) for name in ("one", "bad"))
    assert (one["state"], one["reason"]) == ("active", "")
    assert bad["state"] == "failed"
    assert "SystemExit" in bad["reason"]


def test_models_come_from_manifest_and_configuration(desk: Any, run: Run) -> None:
    desk.config(
        """
        [providers.own]
        plugin = "desk"
        models = [{ name = "mine", capabilities = ["audio"] }]
        [providers.two]
        plugin = "desk"
        [routes.best]
        targets = ["two/echo", "own/mine"]
        [aliases]
        fast = "two/echo"
        """
    )
    found = {row["name"]: row for row in run("models", "--json").json()["models"]}
    assert found["own/mine"]["source"] == "configuration"
    assert found["own/mine"]["capabilities"] == ["audio"]
    assert "own/echo" not in found
    assert found["two/echo"]["source"] == "manifest"
    assert found["two/echo"]["context_tokens"] == 1000
    assert (found["best"]["source"], found["best"]["note"]) == ("route", "ordered: two/echo, own/mine")
    assert (found["fast"]["source"], found["fast"]["note"]) == ("alias", "two/echo")


def test_models_that_only_the_provider_knows_are_said_to_be_unknown(site: Any, run: Run) -> None:
    site.plugin("dark", summary="Says nothing.")
    [row] = rows(run("models", "--json"), "models", instance="dark")
    assert (row["name"], row["note"]) == ("dark/…", "not asked; use --live")


def test_servers_are_listed_with_the_models_that_their_entries_name_and_no_others(
    site: Any, run: Run
) -> None:
    site.plugin("mcp")
    site.config('[servers.clock]\ncommand = "clock"\n[servers.poet]\ncommand = "poet"\nmodels = ["ode"]\n')
    found = run("models", "--json").json()["models"]
    assert [row["name"] for row in found if row["plugin"] == "mcp"] == ["poet/ode"]


def test_patterns_of_names_are_shown(site: Any, run: Run) -> None:
    site.plugin("wide", patterns=["wide-*"], capabilities=["vision"])
    [row] = rows(run("models", "--json"), "models", instance="wide")
    assert (row["note"], row["capabilities"]) == ("takes names like wide-*", ["vision"])


def test_models_can_be_found_by_capability(desk: Any, run: Run) -> None:
    found = run("models", "--capability", "vision", "--json").json()["models"]
    assert "desk/echo" in {row["name"] for row in found}
    assert all("vision" in row["capabilities"] for row in found)


def test_live_models_can_be_found_by_capability(desk: Any, run: Run) -> None:
    found = run("models", "--live", "--capability", "vision", "--json").json()["models"]
    assert [(row["name"], row["source"]) for row in found if row["plugin"] == "desk"] == [
        ("desk/echo", "live")
    ]


def test_names_are_one_a_line_and_can_all_be_asked(desk: Any, run: Run) -> None:
    desk.plugin("dark", summary="Says nothing.")
    desk.config('[aliases]\nfast = "desk/echo"\n')
    lines = run("models", "--names").lines
    assert {"fast", "desk/echo", "desk/vectors"} <= set(lines)
    assert not [line for line in lines if "…" in line or " " in line]


def test_provider_that_cannot_be_used_is_told_beside_the_models(site: Any, run: Run) -> None:
    site.config("[providers.gone]\n")
    assert "gone is missing: no provider plugin 'gone' is installed" in run("models").err
    assert "gone" in run("models", "--json").json()["errors"]


def test_provider_that_fails_when_asked_is_told(desk: Any, run: Run) -> None:
    desk.plugin("bad", summary="Ends the interpreter.")
    result = run("models", "--live", "--json")
    assert result.json()["errors"]["bad"]["code"] == "plugin_load"
    assert rows(result, "models", name="desk/echo")


def test_tools_are_not_known_without_asking(desk: Any, run: Run) -> None:
    [row] = rows(run("tools", "--json"), "tools", instance="desk")
    assert (row["name"], row["note"]) == ("desk/…", "not asked; use --live")


def test_provider_that_offers_no_tools_is_not_in_the_list_of_tools(site: Any, run: Run) -> None:
    site.plugin("mute", hooks=["call", "provide_models"])
    assert rows(run("tools", "--json"), "tools", instance="mute") == []


@pytest.mark.parametrize(
    "pattern, found", [("desk/*", True), ("add", True), ("d*/add", True), ("git/*", False)]
)
def test_pattern_leaves_out_instances_that_cannot_match(
    desk: Any, run: Run, pattern: str, found: bool
) -> None:
    assert bool(rows(run("tools", pattern, "--json"), "tools", instance="desk")) is found


def test_live_tools_match_a_pattern_and_carry_their_schema(desk: Any, run: Run) -> None:
    found = rows(run("tools", "desk/[as]*", "--live", "--json"), "tools")
    assert [row["name"] for row in found] == ["desk/add", "desk/show"]
    assert found[0]["tool"]["input_schema"]["required"] == ["a", "b"]
    assert found[0]["description"] == "adds two numbers"


def test_nothing_installed_is_said_with_the_next_step(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    scan.cache_clear()
    result = run("plugins")
    assert result.code == 0
    assert "pip install gleitzeit-plugin-scripted" in result.err


FORBIDDEN = ("asyncio", "attr", "attrs", "httpx2", "mcp", "msgspec", "pluggy", "pydantic", "stevedore")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["plugins"], ["models"], ["tools"], ["models", "--json"], ["config", "show"]],
    ids=" ".join,
)
def test_listings_import_no_plugin_and_nothing_heavy(site: Any, words: list[str]) -> None:
    for number in range(50):
        site.plugin(f"x{number}", summary="One of many.", models=["a", "b"], hooks=["call", "provide_tools"])
    site.config(
        """
        [providers.one]
        plugin = "x1"
        models = ["a", { name = "b", capabilities = ["vision"] }]
        [servers.clock]
        command = "clock"
        [aliases]
        fast = "one/a"
        """
    )
    code = (
        f"import sys, json; from gleitzeit.cli import main; main({words!r});"
        "print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=site.environ,
        cwd=site.work,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert not {
        name for name in loaded if name.split(".")[0] in FORBIDDEN or name.startswith("gleitzeit_plugin_")
    }
    if words == ["plugins"]:
        assert sum("One of many." in line for line in done.stdout.splitlines()) == 50


def test_models_show_windows_and_prices_with_their_day(
    desk: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = desk.packages / "gleitzeit_plugin_desk"
    manifest = json.loads((package / "gleitzeit.json").read_text())
    (package / "gleitzeit.json").write_text(json.dumps({**manifest, "model_data": "models.json"}))
    price = {"input": 0.25, "output": 2, "cached_input": 0.025}
    models = {"vectors": {"context_tokens": 8191, "price": price}}
    (package / "models.json").write_text(json.dumps({"date": "2026-11-01", "models": models}))
    scan.cache_clear()
    for live in ((), ("--live",)):
        [row] = rows(run("models", *live, "--json"), "models", name="desk/vectors")
        assert (row["context_tokens"], row["price"], row["price_date"]) == (8191, price, "2026-11-01")
        [line] = [line for line in run("models", *live).lines if line.startswith("desk/vectors")]
        assert line.split()[2:6] == ["8191", "0.25", "2", "2026-11-01"]
    monkeypatch.setenv("COLUMNS", "60")
    assert all(len(line) <= 60 for line in run("models").lines)
    (package / "models.json").unlink()
    scan.cache_clear()
    [row] = rows(run("models", "--json"), "models", name="desk/vectors")
    assert (row["context_tokens"], row["price"], row["price_date"]) == (None, None, "")

"""MCP servers, as `[servers.*]` and as other programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config import Config, InstanceConfig, load
from gleitzeit.errors import ConfigError
from gleitzeit.values import Model

Files = Callable[..., Config]

CLAUDE = {
    "mcpServers": {
        "git": {
            "command": "uvx",
            "args": ["mcp-server-git", "--repository", "${REPO}"],
            "env": {"TOKEN": "${TOKEN:-none}", "LEVEL": 3},
        },
        "web": {
            "type": "http",
            "url": "https://example.test/mcp",
            "headers": {"Authorization": "Bearer ${KEY}"},
        },
        "old": {"type": "sse", "url": "https://example.test/sse"},
        "stopped": {"command": "x", "disabled": True, "env": {"A": "${NO_SUCH}"}},
    }
}


@pytest.fixture
def foreign(tmp_path: Path) -> Files:
    """Loads a configuration that names one file of servers."""

    def foreign(content: object, *, name: str = "mcp.json", data: Any = None, **environ: str) -> Config:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        host = {"host": {"mcp_files": [str(path)]}}
        return load(data={**host, **(data or {})}, environ=environ)

    return foreign


def server(config: Config, name: str) -> InstanceConfig:
    [found] = [each for each in config.instances if each.name == name]
    return found


class TestOwn:
    def load(self, table: Any, **environ: str) -> InstanceConfig:
        return server(load(data={"servers": {"s": table}}, environ=environ), "s")

    def test_is_a_provider_of_the_mcp_plugin(self) -> None:
        found = self.load({"command": "x", "args": ["-y"], "env": {"A": "b"}, "cwd": "/d", "hang_timeout": 5})
        assert (found.kind, found.plugin, found.key, found.problem) == ("provider", "mcp", "servers.s", None)
        assert found.values == {
            "command": "x",
            "args": ["-y"],
            "env": {"A": "b"},
            "cwd": "/d",
            "hang_timeout": 5,
            "sandbox": "none",
        }

    def test_says_that_nothing_encloses_it_unless_a_sandbox_is_named(self) -> None:
        assert str(self.load({"command": "x"}).sources["sandbox"]) == "default, as nothing is said"
        assert self.load({"command": "x", "sandbox": "bubblewrap"}).values["sandbox"] == "bubblewrap"

    def test_may_write_its_command_as_a_list(self) -> None:
        values = self.load({"command": ["uvx", "server"], "args": ["-v"]}).values
        assert (values["command"], values["args"]) == ("uvx", ["server", "-v"])

    def test_may_serve_models(self) -> None:
        table = {
            "command": "x",
            "models": ["m", {"name": "n", "capabilities": ["tools"]}],
            "capabilities": ["text"],
        }
        assert self.load(table).models == (Model("m", capabilities="text"), Model("n", capabilities="tools"))

    @pytest.mark.parametrize("key", ["type", "transport", "transportType"])
    @pytest.mark.parametrize("said, meant", [("http", "http"), ("streamable-http", "http"), ("SSE", "sse")])
    def test_names_its_wire_in_several_words(self, key: str, said: str, meant: str) -> None:
        values = self.load({"url": "https://x", key: said}).values
        assert values == {"url": "https://x", "transport": meant, "sandbox": "none"}

    def test_keeps_the_reserved_keys_of_every_instance(self) -> None:
        found = self.load({"command": "x", "eager": True, "may_ask": True, "local": True, "enabled": False})
        assert (found.eager, found.may_ask, found.local, found.enabled) == (True, True, True, False)

    @pytest.mark.parametrize(
        "table, said",
        [
            ({}, "servers.s.command: it is missing; give command for a program here, or url"),
            ({"command": ""}, "servers.s.command: it is empty"),
            ({"command": []}, "servers.s.command: it is missing"),
            ({"command": 1}, "servers.s.command: expected a text or a list, got a whole number"),
            (
                {"command": "x", "args": "-y"},
                'servers.s.args: expected a list, got a text; write args = ["..."]',
            ),
            ({"command": "x", "args": [{}]}, "servers.s.args: item 1: expected"),
            ({"command": "x", "env": ["A=b"]}, "servers.s.env: expected a table, got a list"),
            ({"command": "x", "env": {"A": None}}, "servers.s.env.A: expected a text"),
            ({"command": "x", "env": {"A": True}}, "servers.s.env.A: expected a text; write it in quotes"),
            ({"url": "x", "headers": {"A": []}}, "servers.s.headers.A: expected a text"),
            ({"command": "x", "url": "y"}, "servers.s.url: there is a command as well"),
            ({"command": "x", "sandboxEnabled": True}, "servers.s.sandboxEnabled: it asks for a sandbox"),
            ({"command": "x", "models": "m"}, "servers.s.models: expected a list"),
            ({"command": "x", "models": [{}]}, "servers.s.models[0]: expected a name"),
            ({"command": "x", "eager": "yes"}, "servers.s.eager: expected true or false"),
            ({"command": "${NO_SUCH}"}, "servers.s.command: environment variable NO_SUCH is not set"),
            (
                {"command": "x", "env": {"A": "${a-b}"}},
                "servers.s.env.A: `${a-b}` names no environment variable",
            ),
            ("x", "servers.s: expected a table"),
        ],
    )
    def test_that_is_wrong_fails_alone_and_names_the_field(self, table: Any, said: str) -> None:
        data = {"servers": {"s": table, "good": {"command": "x"}}}
        config = load(data=data, environ={})
        assert said in str(server(config, "s").problem)
        assert server(config, "good").problem is None

    def test_shares_no_name_with_a_provider(self) -> None:
        with pytest.raises(ConfigError, match=r"servers\.s: there is a provider of this name as well"):
            load(data={"servers": {"s": {"command": "x"}}, "providers": {"s": {}}}, environ={})


class TestClaude:
    def test_is_read_as_it_is(self, foreign: Files) -> None:
        config = foreign(CLAUDE, REPO="/r", KEY="k")
        assert server(config, "git").values == {
            "command": "uvx",
            "args": ["mcp-server-git", "--repository", "/r"],
            "env": {"TOKEN": "none", "LEVEL": "3"},
            "sandbox": "none",
        }
        assert server(config, "web").values == {
            "url": "https://example.test/mcp",
            "headers": {"Authorization": "Bearer k"},
            "transport": "http",
            "sandbox": "none",
        }
        assert server(config, "old").values["transport"] == "sse"
        assert server(config, "stopped").enabled is False
        assert all(each.problem is None for each in config.instances)

    def test_an_unset_variable_stops_that_server_alone(self, foreign: Files, tmp_path: Path) -> None:
        config = foreign(CLAUDE, REPO="/r")
        assert server(config, "web").problem == (
            f"{tmp_path / 'mcp.json'}:19: servers.web.headers.Authorization: "
            "environment variable KEY is not set; set it, or write ${KEY:-default}"
        )
        assert server(config, "git").problem is None

    def test_unknown_keys_are_kept_and_told(self, foreign: Files, tmp_path: Path) -> None:
        config = foreign({"mcpServers": {"s": {"command": "x", "alwaysAllow": ["y"]}}})
        assert server(config, "s").values["alwaysAllow"] == ["y"]
        assert config.warnings == (
            f"{tmp_path / 'mcp.json'}:5: mcpServers.s.alwaysAllow: no key of ours, left to the plugin",
        )

    def test_keys_that_programs_disagree_about_are_left_out_and_told(self, foreign: Files) -> None:
        config = foreign({"mcpServers": {"s": {"command": "x", "timeout": 60000}}})
        assert "timeout" not in server(config, "s").values
        assert "programs disagree" in config.warnings[0]

    def test_nested_transport_is_understood(self, foreign: Files) -> None:
        config = foreign({"mcpServers": {"s": {"transport": {"type": "http", "url": "https://x"}}}})
        assert server(config, "s").values == {"url": "https://x", "transport": "http", "sandbox": "none"}

    @pytest.mark.parametrize("entry", [[], "x", 1, None])
    def test_an_entry_that_is_no_object_fails_alone(self, foreign: Files, entry: Any) -> None:
        config = foreign({"mcpServers": {"bad": entry, "good": {"command": "x"}}})
        assert "servers.bad: expected an object" in str(server(config, "bad").problem)
        assert server(config, "good").problem is None

    def test_a_name_that_cannot_be_one_fails_alone(self, foreign: Files) -> None:
        config = foreign({"mcpServers": {"a/b": {"command": "x"}, "good": {"command": "x"}}})
        assert "cannot name an instance" in str(server(config, "a/b").problem)
        assert server(config, "good").problem is None


class TestVSCode:
    def test_is_read_with_comments_and_trailing_commas(self, foreign: Files, tmp_path: Path) -> None:
        text = """{
            // servers
            "servers": {
                "files": {
                    "type": "stdio", "command": "x", /* a
                    comment */
                    "args": ["${workspaceFolder}/a", "${env:HOME}", "// not a comment,]"],
                },
            },
            "inputs": [],
        }"""
        config = foreign(text, name=".vscode/mcp.json", HOME="/h")
        found = server(config, "files")
        assert found.values["args"] == [f"{tmp_path}/a", "/h", "// not a comment,]"]
        assert str(found.sources["args"]).endswith("mcp.json:7")

    def test_what_a_person_would_be_asked_stops_that_server_alone(self, foreign: Files) -> None:
        servers = {"a": {"command": "x", "env": {"K": "${input:key}"}}, "b": {"command": "y"}}
        config = foreign({"servers": servers, "inputs": [{"id": "key", "type": "promptString"}]})
        assert "servers.a.env.K: `${input:key}` asks a person" in str(server(config, "a").problem)
        assert server(config, "b").problem is None

    @pytest.mark.parametrize(
        "wish", [{"sandboxEnabled": True}, {"sandbox": {"network": {"allowedDomains": []}}}]
    )
    def test_a_wish_for_a_sandbox_is_not_dropped_silently(self, foreign: Files, wish: Any) -> None:
        entry = {"servers": {"s": {"command": "x", **wish}}}
        assert "it asks for a sandbox, and none is configured" in str(server(foreign(entry), "s").problem)
        settled = foreign(entry, data={"servers": {"s": {"sandbox": "none"}}})
        assert server(settled, "s").problem is None
        assert server(settled, "s").values["sandbox"] == "none"


class TestList:
    def test_is_read_with_models_and_capabilities(self, foreign: Files) -> None:
        entry = {
            "name": "openai",
            "command": "mcp-server-openai",
            "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY}"},
            "models": ["gpt-4", "gpt-3.5-turbo"],
            "capabilities": ["text", "vision"],
        }
        found = server(foreign({"servers": [entry]}, OPENAI_API_KEY="sk"), "openai")
        assert found.models == tuple(Model(name, capabilities={"text", "vision"}) for name in entry["models"])
        assert found.values["env"] == {"OPENAI_API_KEY": "sk"}
        assert found.problem is None

    @pytest.mark.parametrize(
        "entry, said",
        [
            ({"command": "x"}, "servers.server-2.name: expected a name"),
            ({"name": 1, "command": "x"}, "servers.server-2.name: expected a name"),
            ({"name": "good", "command": "x"}, "servers.server-2.name: another server has this name"),
            ("x", "servers.server-2.name: expected a name"),
        ],
    )
    def test_a_malformed_entry_names_the_field_and_fails_alone(
        self, foreign: Files, entry: Any, said: str
    ) -> None:
        config = foreign({"servers": [{"name": "good", "command": "x"}, entry]})
        assert said in str(server(config, "server-2").problem)
        assert server(config, "good").problem is None


class TestFiles:
    def test_our_own_section_goes_over_theirs(self, foreign: Files) -> None:
        config = foreign(
            CLAUDE, data={"servers": {"git": {"may_ask": True, "env": {"MORE": "1"}}}}, REPO="/r"
        )
        found = server(config, "git")
        assert found.may_ask is True
        assert found.values["env"] == {"TOKEN": "none", "LEVEL": "3", "MORE": "1"}
        assert str(found.sources["env.MORE"]) == "configuration in code"

    def test_the_environment_goes_over_theirs(self, foreign: Files) -> None:
        assert server(foreign(CLAUDE, GLEITZEIT__SERVERS__GIT__ENABLED="false"), "git").enabled is False

    def test_paths_are_relative_to_the_file_that_names_them(self, tmp_path: Path) -> None:
        (tmp_path / "mcp.json").write_text(json.dumps(CLAUDE))
        (tmp_path / "g.toml").write_text('host.mcp_files = ["mcp.json"]')
        config = load(tmp_path / "g.toml", environ={})
        assert config.files == (str(tmp_path / "g.toml"), str(tmp_path / "mcp.json"))
        assert server(config, "git").kind == "provider"

    @pytest.mark.parametrize("by", ["environment", "argument"])
    def test_may_be_named_from_outside(self, tmp_path: Path, by: str) -> None:
        (tmp_path / "mcp.json").write_text(json.dumps(CLAUDE))
        files = [str(tmp_path / "mcp.json")]
        config = load(
            data={},
            environ={"GLEITZEIT__HOST__MCP_FILES": json.dumps(files)} if by == "environment" else {},
            overrides={"host": {"mcp_files": files}} if by == "argument" else {},
        )
        assert server(config, "git").key == "servers.git"

    def test_two_files_with_one_name_are_a_problem(self, tmp_path: Path) -> None:
        for name in ("a.json", "b.json"):
            (tmp_path / name).write_text('{"mcpServers": {"s": {"command": "x"}}}')
        files = [str(tmp_path / name) for name in ("a.json", "b.json")]
        with pytest.raises(ConfigError, match=r"b\.json:1: servers\.s: it stands in .*a\.json:1 too"):
            load(data={"host": {"mcp_files": files}}, environ={})

    @pytest.mark.parametrize(
        "content, said",
        [
            ("{", "no valid JSON"),
            ("[]", "expected an object"),
            ('{"mcp": {}}', "it holds neither mcpServers nor servers"),
            ('{"servers": 1}', "it holds neither mcpServers nor servers"),
        ],
    )
    def test_a_file_that_is_none_is_a_problem(self, foreign: Files, content: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            foreign(content)
        assert "mcp.json" in caught.value.problems[0]
        assert said in caught.value.problems[0]

    def test_an_absent_file_is_a_problem(self) -> None:
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            load(data={"host": {"mcp_files": ["/no/such/file.json"]}}, environ={})

    VALUES: st.SearchStrategy[Any] = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text("${}:-A", max_size=6)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=5,
    )
    KEYS = st.sampled_from(
        ["command", "args", "env", "url", "headers", "type", "transport", "name", "models", "x"]
    )
    ENTRIES = st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=4))

    @given(
        st.one_of(st.lists(ENTRIES, max_size=3), st.dictionaries(st.text(max_size=3), ENTRIES, max_size=3))
    )
    def test_any_servers_load_each_for_itself(self, servers: Any) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mcp.json")
            path.write_text(
                json.dumps(
                    {
                        "servers": [*servers, GOOD]
                        if isinstance(servers, list)
                        else {**servers, "good server": GOOD}
                    }
                )
            )
            config = load(data={"host": {"mcp_files": [str(path)]}}, environ={})
        assert len(config.instances) == len(servers) + 1
        assert server(config, "good server").problem is None


GOOD = {"name": "good server", "command": "x"}

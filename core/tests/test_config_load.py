"""Where a configuration comes from, which layer wins, and how everything wrong is told at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config import Config, InstanceConfig, Source, load
from gleitzeit.discovery import SECTIONS, Entry, Index
from gleitzeit.errors import ConfigError
from gleitzeit.manifest import Shipped
from gleitzeit.values import Model

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file into the working directory of the test."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(text: str | bytes, name: str = "gleitzeit.toml") -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def instance(config: Config, name: str) -> InstanceConfig:
    [found] = [each for each in config.instances if each.name == name]
    return found


def problems(*args: Any, **kwargs: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(*args, **{"environ": {}, **kwargs})
    return caught.value.problems


def index(**secrets: Mapping[str, str]) -> Index:
    """Installed providers with the environment variables of their manifests."""
    return Index(
        Entry(
            name,
            kind="provider",
            value=f"{name}:P",
            shipped=Shipped("m", json.dumps({"name": name, "secrets": variables}).encode, name, "provider"),
        )
        for name, variables in secrets.items()
    )


class TestPlaces:
    def test_no_file_is_an_empty_configuration(self, write: Write) -> None:
        config = load(environ={})
        assert config == Config()
        assert config.files == ()

    def test_working_directory_is_searched(self, write: Write) -> None:
        write("host.timeout = 5")
        assert load(environ={}).host.timeout == 5
        assert load(environ={}).files == ("gleitzeit.toml",)

    def test_json_is_read_where_there_is_no_toml(self, write: Write) -> None:
        write('{"host": {"timeout": 5}}', "gleitzeit.json")
        assert load(environ={}).host.timeout == 5
        write("host.timeout = 6")
        assert load(environ={}).host.timeout == 6

    def test_user_directory_is_searched_last(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.platform", "linux")
        home = write("host.timeout = 7", "home/.config/gleitzeit/gleitzeit.toml").parents[2]
        xdg = write("host.timeout = 8", "xdg/gleitzeit/gleitzeit.toml").parents[1]
        assert load(environ={"HOME": str(home)}).host.timeout == 7
        assert load(environ={"HOME": str(home), "XDG_CONFIG_HOME": str(xdg)}).host.timeout == 8
        write("host.timeout = 5")
        assert load(environ={"HOME": str(home)}).host.timeout == 5

    @pytest.mark.parametrize(
        "platform, variable, folder",
        [
            ("win32", "APPDATA", "gleitzeit"),
            ("darwin", "HOME", "Library/Application Support/gleitzeit"),
            ("darwin", "HOME", ".config/gleitzeit"),
        ],
    )
    def test_user_directory_is_the_systems(
        self, write: Write, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, folder: str
    ) -> None:
        monkeypatch.setattr("sys.platform", platform)
        path = write("host.timeout = 7", f"user/{folder}/gleitzeit.toml")
        root = next(parent for parent in path.parents if parent.name == "user")
        assert load(environ={variable: str(root)}).host.timeout == 7

    def test_variable_names_a_file_and_an_argument_goes_before_it(self, write: Write) -> None:
        write("host.timeout = 5")
        environ = {"GLEITZEIT_CONFIG": str(write("host.timeout = 6", "other.toml"))}
        assert load(environ=environ).host.timeout == 6
        assert load(write("host.timeout = 7", "third.toml"), environ=environ).host.timeout == 7

    @pytest.mark.parametrize("by", ["argument", "variable"])
    def test_a_named_file_must_be_there(self, write: Write, by: str) -> None:
        with pytest.raises(ConfigError, match=r"there is no file absent\.toml"):
            load("absent.toml" if by == "argument" else None, environ={"GLEITZEIT_CONFIG": "absent.toml"})

    def test_a_directory_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is a directory"):
            load(tmp_path, environ={})

    def test_code_may_give_the_data_instead(self, write: Write) -> None:
        write("host.timeout = 5")
        config = load(data={"host": {"hook_timeout": 1}}, environ={})
        assert (config.host.timeout, config.host.hook_timeout) == (600.0, 1)
        assert config.files == ()

    def test_data_and_a_file_exclude_each_other(self) -> None:
        with pytest.raises(ConfigError, match="both data and the file x are given"):
            load("x", data={}, environ={})

    def test_directory_of_the_file_can_be_referred_to(self, write: Write) -> None:
        path = write('providers.p.script = "${GLEITZEIT_CONFIG_DIR}/a.toml"', "sub/g.toml")
        assert instance(load(path, environ={}), "p").values["script"] == str(path.parent / "a.toml")


class TestPrecedence:
    LAYERS = ("file", "default profile", "profile", "environment", "argument")

    @pytest.mark.parametrize("top", range(5), ids=LAYERS)
    def test_each_layer_goes_over_those_before_it(self, write: Write, top: int) -> None:
        text = "[providers.p]\nkey = 'file'\n"
        if top >= 1:
            text += "[profiles.default.providers.p]\nkey = 'default profile'\n"
        if top >= 2:
            text += "[profiles.x.providers.p]\nkey = 'profile'\n"
        write(text)
        config = load(
            profile="x" if top >= 2 else None,
            environ={"GLEITZEIT__PROVIDERS__P__KEY": "environment"} if top >= 3 else {},
            overrides={"providers": {"p": {"key": "argument"}}} if top >= 4 else None,
        )
        found = instance(config, "p")
        assert found.values["key"] == self.LAYERS[top]
        assert (
            str(found.sources["key"])
            == (
                "gleitzeit.toml:2",
                "profile default in gleitzeit.toml:4",
                "profile x in gleitzeit.toml:6",
                "environment variable GLEITZEIT__PROVIDERS__P__KEY",
                "keyword argument",
            )[top]
        )

    def test_tables_merge_and_lists_replace(self, write: Write) -> None:
        write("""
            [providers.p]
            stop = ["a", "b"]
            [providers.p.again]
            times = 3
            delay = 1
            [profiles.x.providers.p]
            stop = ["c"]
            again.delay = 2
        """)
        values = instance(load(profile="x", environ={}), "p").values
        assert values == {"stop": ["c"], "again": {"times": 3, "delay": 2}}

    def test_a_profile_may_add_an_instance(self, write: Write) -> None:
        write("[profiles.x.providers.p]\nkey = 1\n")
        assert load(environ={}).instances == ()
        assert instance(load(profile="x", environ={}), "p").values == {"key": 1}

    def test_a_variable_chooses_the_profile(self, write: Write) -> None:
        write("[profiles.x.host]\ntimeout = 5\n[profiles.y.host]\ntimeout = 6")
        environ = {"GLEITZEIT_PROFILE": "x"}
        assert load(environ=environ).host.timeout == 5
        assert load(environ=environ, profile="y").host.timeout == 6

    def test_the_profile_named_default_may_be_chosen_by_name(self, write: Write) -> None:
        write("[profiles.default.host]\ntimeout = 5")
        assert load(environ={}, profile="default").host.timeout == 5

    def test_a_dotted_argument_is_a_nested_one(self) -> None:
        overrides = {"aliases": {"a": "b"}, 'aliases."gpt-4.1"': "openai/x", "host.http.proxy": "http://p"}
        config = load(data={}, environ={}, overrides=overrides)
        assert config.aliases == {"a": "b", "gpt-4.1": "openai/x"}
        assert config.host.http.proxy == "http://p"

    @given(st.sets(st.integers(0, 4), min_size=1))
    def test_the_highest_layer_that_speaks_is_heard(self, spoken: set[int]) -> None:
        data: dict[str, Any] = {"providers": {"p": {"other": 1}}, "profiles": {"default": {}, "x": {}}}
        if 0 in spoken:
            data["providers"]["p"]["key"] = "0"
        for number, name in ((1, "default"), (2, "x")):
            if number in spoken:
                data["profiles"][name] = {"providers": {"p": {"key": str(number)}}}
        config = load(
            data=data,
            profile="x",
            environ={"GLEITZEIT__PROVIDERS__P__KEY": "3"} if 3 in spoken else {},
            overrides={"providers.p.key": "4"} if 4 in spoken else {},
        )
        assert instance(config, "p").values == {"other": 1, "key": str(max(spoken))}


class TestInstances:
    @pytest.mark.parametrize("section", SECTIONS)
    def test_every_kind_has_its_section(self, section: str) -> None:
        config = load(data={section: {"mine": {"plugin": "theirs", "key": 1}}}, environ={})
        [found] = config.instances
        assert (found.name, found.kind, found.plugin) == ("mine", SECTIONS[section], "theirs")
        assert found.values == {"key": 1}
        assert found.key == f"{section}.mine"

    def test_one_plugin_may_have_several(self) -> None:
        config = load(data={"providers": {"openai": {}, "second": {"plugin": "openai"}}}, environ={})
        assert [(each.name, each.plugin) for each in config.instances] == [
            ("openai", "openai"),
            ("second", "openai"),
        ]

    def test_reserved_keys_are_the_hosts(self) -> None:
        table = {
            "plugin": "x",
            "enabled": False,
            "eager": True,
            "local": True,
            "may_ask": True,
            "models": ["a", {"name": "b", "operations": ["chat"], "context_tokens": 5}],
        }
        found = instance(load(data={"providers": {"p": table}}, environ={}), "p")
        assert (found.enabled, found.eager, found.local, found.may_ask) == (False, True, True, True)
        assert found.models == (Model("a"), Model("b", operations={"chat"}, context_tokens=5))
        assert found.values == {}

    def test_says_where_each_key_was_set(self, write: Write) -> None:
        write("[providers.p]\nkey = 1\n\n[providers.p.headers]\nX-Y = 'z'\n'a.b' = 2\n")
        sources = instance(load(environ={}), "p").sources
        assert {key: str(source) for key, source in sources.items()} == {
            "": "gleitzeit.toml:1",
            "key": "gleitzeit.toml:2",
            "headers.X-Y": "gleitzeit.toml:5",
            'headers."a.b"': "gleitzeit.toml:6",
        }

    def test_an_unset_variable_stops_that_provider_alone(self, write: Write) -> None:
        write('[providers.p]\nurl = "x"\nkey = "${NO_SUCH}"\n[providers.q]\n')
        config = load(environ={})
        assert instance(config, "p").problem == (
            "gleitzeit.toml:3: providers.p.key: environment variable NO_SUCH is not set;"
            " set it, or write ${NO_SUCH:-default}"
        )
        assert instance(config, "q").problem is None

    def test_an_unset_variable_of_a_guard_stops_everything(self) -> None:
        [problem] = problems(data={"plugins": {"guard": {"key": "${NO_SUCH}"}}})
        assert "plugins.guard.key: environment variable NO_SUCH is not set" in problem

    def test_a_disabled_instance_needs_no_variables(self) -> None:
        data = {"plugins": {"guard": {"enabled": False, "key": "${NO_SUCH}"}}}
        assert load(data=data, environ={}).instances[0].problem is None

    def test_only_the_effective_value_must_be_complete(self) -> None:
        data = {
            "plugins": {"g": {"key": "${NO_SUCH}"}},
            "profiles": {"x": {"plugins": {"g": {"key": "set"}}}},
        }
        assert load(data=data, environ={}, profile="x").instances[0].values == {"key": "set"}

    @pytest.mark.parametrize("name", ["a/b", "", " a", "a\n"])
    def test_names_have_no_slash_and_no_odd_space(self, name: str) -> None:
        assert "cannot name an instance" in problems(data={"providers": {name: {}}})[0]

    @pytest.mark.parametrize("name", ["env", "file"])
    def test_names_of_built_in_secret_backends_are_taken(self, name: str) -> None:
        assert "built in" in problems(data={"secrets": {name: {"plugin": "vault"}}})[0]

    def test_variables_reach_into_lists_and_tables(self) -> None:
        data = {"providers": {"p": {"list": ["${A}", {"deep": "${A}"}], "n": 1}}}
        assert load(data=data, environ={"A": "x"}).instances[0].values == {
            "list": ["x", {"deep": "x"}],
            "n": 1,
        }

    def test_repr_shows_no_value(self) -> None:
        config = load(data={"providers": {"p": {"key": "canary"}}}, environ={})
        assert "canary" not in repr(config)


EVERYTHING = """\
gleitzeit.toml:3: provider: there is no such section; did you mean 'providers'?
profile x in gleitzeit.toml:13: profiles.x.hots: there is no such section; did you mean 'host'?
profile y in gleitzeit.toml:15: profiles.y: expected a table; write [profiles.y.SECTION]
gleitzeit.toml: there is no profile 'z'; it has x, y
environment variable GLEITZEIT__PROVIDERS__R__KEY: there is no provider 'r'; declared are p, q; or write [providers.r]
gleitzeit.toml:2: host.hook_tiemout: there is no such key; did you mean 'hook_timeout'?
gleitzeit.toml:5: providers.p.enabled: expected true or false, got a text; write enabled = true or false
gleitzeit.toml:6: providers.p.models[0]: expected a name, or a table with a name
gleitzeit.toml:8: providers.q: expected a table; write [providers.q]
gleitzeit.toml:10: plugins.g.key: environment variable NO_SUCH is not set; set it, or write ${NO_SUCH:-default}
gleitzeit.toml:12: aliases.a: expected a text, got a whole number; write a = "..."
""".splitlines()  # noqa: E501  # as a person reads them


class TestProblems:
    def test_are_all_told_at_once_with_file_line_key_and_next_step(self, write: Write) -> None:
        write("""\
[host]
hook_tiemout = 5
[provider.x]
[providers.p]
enabled = "yes"
models = [{ nam = "m" }]
[providers]
q = 1
[plugins.g]
key = "${NO_SUCH}"
[aliases]
a = 1
[profiles.x.hots]
[profiles]
y = 1
""")
        with pytest.raises(ConfigError) as caught:
            load(environ={"GLEITZEIT__PROVIDERS__R__KEY": "1"}, profile="z")
        assert list(caught.value.problems) == EVERYTHING
        for problem in caught.value.problems:
            assert problem in str(caught.value)

    def test_unknown_profile_is_one_and_names_near_ones(self, write: Write) -> None:
        write("[profiles.production.host]")
        assert problems(profile="produktion") == (
            "gleitzeit.toml: there is no profile 'produktion'; did you mean 'production'?",
        )

    def test_unknown_profile_without_any_file_is_one(self, write: Write) -> None:
        assert "there is no profile 'x'" in problems(profile="x")[0]

    @pytest.mark.parametrize(
        "name, text, said",
        [
            ("g.toml", "a = 1\nb = \n", "g.toml:2: no valid TOML"),
            ("g.toml", "a = 1\na = 2\n", "g.toml:2: no valid TOML"),
            ("g.json", '{"a": 1,\n"b"}', "g.json:2: no valid JSON"),
            ("g.json", "[1]", "g.json: expected an object"),
            ("g.json", '{"host": {}, "host": {}}', "g.json: the key 'host' stands there twice"),
            ("g.toml", b"a = 1\nb = '\xff'", "g.toml:2: it is no UTF-8 text"),
            ("g.toml", "a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
            (
                "g.json",
                '{"a": ' * 5000 + "1" + "}" * 5000,
                "nested",
            ),  # who says it depends on Python
            ("g.json", '{"a": ' * 100 + "1" + "}" * 100, "nested deeper than 64 levels"),
            ("g.toml", "a = 1" + " " * (8 << 20), "larger than 8 MiB"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_one(
        self, write: Write, name: str, text: str | bytes, said: str
    ) -> None:
        write(text, name)
        [problem] = problems(name)
        assert said in problem

    def test_servers_of_another_program_in_our_file_say_where_they_belong(self, write: Write) -> None:
        write('{"mcpServers": {}}', "gleitzeit.json")
        assert "name this file in host.mcp_files" in problems()[0]

    def test_keys_of_code_are_texts(self) -> None:
        assert "the key 1 in providers is no text" in problems(data={"providers": {1: {}}})[0]

    @given(st.binary(max_size=60))
    def test_any_file_is_a_configuration_or_an_error_of_ours(self, raw: bytes) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "g.toml")
            path.write_bytes(raw)
            try:
                told = load(path, environ={}) is not None
            except ConfigError as error:
                told = bool(error.problems)
        assert told

    VALUES: st.SearchStrategy[Any] = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text("${}:-A", max_size=6)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=6,
    )

    @given(
        st.dictionaries(
            st.sampled_from([*SECTIONS, "servers", "host", "routes", "aliases", "profiles", "x"]),
            VALUES,
            max_size=3,
        ),
        st.dictionaries(
            st.from_regex(r"GLEITZEIT__[A-Z_]{0,12}", fullmatch=True), st.text(max_size=4), max_size=2
        ),
    )
    def test_any_data_is_a_configuration_or_an_error_of_ours(
        self, data: Any, environ: dict[str, str]
    ) -> None:
        try:
            told = load(data=data, environ=environ) is not None
        except ConfigError as error:
            told = bool(error.problems)
        assert told


def test_a_source_is_what_a_person_reads() -> None:
    assert str(Source("gleitzeit.toml:3")) == "gleitzeit.toml:3"

"""References to secrets are resolved late, once, and without ever showing a value."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config import SecretRef, SecretResolver, load
from gleitzeit.errors import ConfigError, GleitzeitError, PluginNotFoundError


class TestReference:
    @pytest.mark.parametrize(
        "text, backend, path, field",
        [
            ("secret://env/NAME", "env", "NAME", None),
            ("secret://file/run/secrets/x", "file", "run/secrets/x", None),
            ("secret://file//run/secrets/x", "file", "/run/secrets/x", None),
            ("secret://vault/kv/app#key", "vault", "kv/app", "key"),
            ("secret://my-vault.2/a#b#c", "my-vault.2", "a#b", "c"),
            ("secret://aws/name with space", "aws", "name with space", None),
        ],
    )
    def test_has_parts(self, text: str, backend: str, path: str, field: str | None) -> None:
        reference = SecretRef.parse(text)
        assert (reference.backend, reference.path, reference.field) == (backend, path, field)
        assert reference == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "env/NAME",
            "secret://",
            "secret://env",
            "secret://env/",
            "secret:///x",
            "secret://e/a#",
            "secret://e/#a",
        ],
    )
    def test_that_is_malformed_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is no reference to a secret"):
            SecretRef.parse(text)

    def test_a_text_that_is_none_is_not_quoted(self) -> None:
        with pytest.raises(ConfigError) as caught:
            SecretRef("sk-canary")
        assert "canary" not in shown(caught.value)

    def test_survives_copying(self) -> None:
        reference = SecretRef("secret://vault/a#b")
        for other in (copy.copy(reference), copy.deepcopy(reference), pickle.loads(pickle.dumps(reference))):
            assert (type(other), other.path, other.field) == (SecretRef, "a", "b")

    @given(st.text(max_size=30))
    def test_any_text_is_one_or_is_refused(self, text: str) -> None:
        try:
            reference = SecretRef("secret://" + text)
        except ConfigError:
            return
        assert reference.backend
        assert reference.path


class TestEnvironment:
    async def test_gives_the_value(self) -> None:
        assert await SecretResolver(environ={"KEY": "value\n"}).resolve("secret://env/KEY") == "value\n"

    async def test_gives_a_field_of_a_json_object(self) -> None:
        resolver = SecretResolver(environ={"KEY": '{"a": "b", "n": 5}'})
        assert await resolver.resolve("secret://env/KEY#a") == "b"
        assert await resolver.resolve("secret://env/KEY#n") == "5"

    @pytest.mark.parametrize(
        "value, reference, said",
        [
            (None, "secret://env/KEY", "environment variable KEY is not set"),
            ("", "secret://env/KEY", "environment variable KEY is empty"),
            ("canary", "secret://env/KEY#a", "it is no JSON object"),
            ('["canary"]', "secret://env/KEY#a", "it is no JSON object"),
            ('{"b": "canary"}', "secret://env/KEY#a", "the JSON object has no such field"),
        ],
    )
    async def test_failure_names_the_reference_and_no_value(
        self, value: str | None, reference: str, said: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            await SecretResolver(environ={} if value is None else {"KEY": value}).resolve(reference)
        assert reference in str(caught.value)
        assert said in str(caught.value)
        assert "canary" not in shown(caught.value)


class TestFile:
    @pytest.mark.parametrize(
        "raw, value",
        [(b"v", "v"), (b"v\n", "v"), (b"v\r\n", "v"), (b"v\n\n", "v\n"), (b" v \n", " v "), (b"", "")],
    )
    async def test_gives_the_content_less_one_newline(self, tmp_path: Path, raw: bytes, value: str) -> None:
        (tmp_path / "key").write_bytes(raw)
        assert await SecretResolver().resolve(f"secret://file/{tmp_path / 'key'}") == value

    async def test_path_is_absolute_with_one_slash_or_two(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("v")
        relative = str(tmp_path / "key").lstrip("/")
        assert await SecretResolver().resolve(f"secret://file/{relative}") == "v"
        assert await SecretResolver().resolve(f"secret://file//{relative}") == "v"

    async def test_gives_a_field(self, tmp_path: Path) -> None:
        (tmp_path / "key.json").write_text('{"token": "t"}')
        assert await SecretResolver().resolve(f"secret://file{tmp_path}/key.json#token") == "t"

    @pytest.mark.parametrize(
        "make, said",
        [
            (lambda path: None, "No such file"),
            (lambda path: path.mkdir(), "Is a directory"),
            (lambda path: path.write_bytes(b"canary\xff"), "is no UTF-8 text"),
            (lambda path: path.write_bytes(b"canary" * (1 << 18)), "is larger than 1 MiB"),
        ],
    )
    async def test_failure_names_the_reference_and_no_value(
        self, tmp_path: Path, make: Callable[[Path], object], said: str
    ) -> None:
        make(tmp_path / "key")
        reference = f"secret://file{tmp_path}/key"
        with pytest.raises(ConfigError) as caught:
            await SecretResolver().resolve(reference)
        assert reference in str(caught.value)
        assert said in str(caught.value)
        assert "canary" not in shown(caught.value)

    async def test_path_with_a_zero_byte_is_an_error_of_ours(self) -> None:
        with pytest.raises(ConfigError, match="no path of a file"):
            await SecretResolver().resolve("secret://file/a\0b")


class Vault:
    """A backend that counts what it is asked."""

    def __init__(self, answer: Callable[[str, str | None], Awaitable[str]] | None = None) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self._answer = answer

    async def resolve(self, path: str, field: str | None) -> str:
        self.asked.append((path, field))
        await asyncio.sleep(0)
        return (
            f"{path}:{field}:{len(self.asked)}" if self._answer is None else await self._answer(path, field)
        )


def asking(vault: Vault) -> Callable[[str], Awaitable[Vault]]:
    async def backend(name: str) -> Vault:
        if name != "vault":
            raise PluginNotFoundError(f"no secrets plugin {name!r} is installed", hint="install it")
        return vault

    return backend


class TestBackends:
    async def test_is_asked_through_the_port(self) -> None:
        vault = Vault()
        assert await SecretResolver(asking(vault)).resolve("secret://vault/kv/a#b") == "kv/a:b:1"
        assert vault.asked == [("kv/a", "b")]

    async def test_that_is_missing_is_told_with_its_hint(self) -> None:
        with pytest.raises(
            ConfigError, match="secret://aws/x: no secrets plugin 'aws' is installed"
        ) as caught:
            await SecretResolver(asking(Vault())).resolve("secret://aws/x")
        assert caught.value.hint == "install it"

    async def test_without_a_port_there_are_only_the_built_in_ones(self) -> None:
        with pytest.raises(ConfigError, match="no backend 'vault'"):
            await SecretResolver().resolve("secret://vault/x")

    async def test_strange_failure_is_told_without_its_text(self) -> None:
        async def answer(path: str, field: str | None) -> str:
            raise RuntimeError("canary")

        with pytest.raises(ConfigError, match="backend 'vault' raised RuntimeError") as caught:
            await SecretResolver(asking(Vault(answer))).resolve("secret://vault/x")
        assert "canary" not in shown(caught.value)

    async def test_answer_that_is_no_text_is_refused(self) -> None:
        async def answer(path: str, field: str | None) -> str:
            return 5  # type: ignore[return-value]  # what a careless plugin does

        with pytest.raises(ConfigError, match="gave no text"):
            await SecretResolver(asking(Vault(answer))).resolve("secret://vault/x")


class TestMemory:
    async def test_a_value_is_kept_for_a_while(self) -> None:
        now = 0.0
        vault = Vault()
        resolver = SecretResolver(asking(vault), ttl=10, clock=lambda: now)
        assert await resolver.resolve("secret://vault/x") == "x:None:1"
        now = 9.9
        assert await resolver.resolve("secret://vault/x") == "x:None:1"
        now = 10.0
        assert await resolver.resolve("secret://vault/x") == "x:None:2"

    async def test_references_are_kept_apart(self) -> None:
        resolver = SecretResolver(asking(Vault()))
        assert await resolver.resolve("secret://vault/x") != await resolver.resolve("secret://vault/x#f")

    @pytest.mark.parametrize("what", ["secret://vault/x", None])
    async def test_what_is_forgotten_is_asked_anew(self, what: str | None) -> None:
        resolver = SecretResolver(asking(Vault()))
        await resolver.resolve("secret://vault/x")
        resolver.forget(what)
        assert await resolver.resolve("secret://vault/x") == "x:None:2"

    async def test_simultaneous_questions_are_asked_once(self) -> None:
        vault = Vault()
        resolver = SecretResolver(asking(vault))
        answers = await asyncio.gather(*(resolver.resolve("secret://vault/x") for _ in range(5)))
        assert set(answers) == {"x:None:1"}
        assert len(vault.asked) == 1

    async def test_a_failure_is_not_kept(self) -> None:
        environ: dict[str, str] = {}
        resolver = SecretResolver(environ=environ)
        with pytest.raises(ConfigError):
            await resolver.resolve("secret://env/KEY")
        environ["KEY"] = "v"
        assert await resolver.resolve("secret://env/KEY") == "v"

    async def test_one_who_gives_up_does_not_spoil_it_for_others(self) -> None:
        entered, free = asyncio.Event(), asyncio.Event()

        async def answer(path: str, field: str | None) -> str:
            entered.set()
            await free.wait()
            return "v"

        resolver = SecretResolver(asking(Vault(answer)))
        first = asyncio.create_task(resolver.resolve("secret://vault/x"))
        await entered.wait()
        second = asyncio.create_task(resolver.resolve("secret://vault/x"))
        first.cancel()
        free.set()
        assert await second == "v"


async def test_only_references_in_values_are_resolved() -> None:
    data = {
        "providers": {
            "p": {"a": "secret://env/KEY", "b": [{"c": "secret://env/KEY"}], "d": "${TEXT}", "e": 1}
        }
    }
    environ = {"KEY": "value", "TEXT": "secret://env/KEY"}
    [found] = load(data=data, environ=environ).instances
    resolved = await SecretResolver(environ=environ).resolve_all(found.values)
    assert resolved == {"a": "value", "b": [{"c": "value"}], "d": "secret://env/KEY", "e": 1}


@pytest.mark.parametrize("raw", ["secret://env", "secret://env/${KEY}#"])
def test_a_malformed_reference_stops_that_provider_alone(raw: str) -> None:
    config = load(data={"providers": {"p": {"a": raw}, "q": {}}}, environ={"KEY": "canary"})
    assert "providers.p.a: " in str(config.instances[0].problem)
    assert "canary" not in str(config.instances[0].problem)
    assert config.instances[1].problem is None


def shown(error: BaseException | None) -> str:
    """All that a log with a traceback would show of an error."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), *(str(each) for each in getattr(error, "problems", ()))]
        assert not isinstance(error, GleitzeitError) or error.body is None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


class TestPersonalReference:
    TEMPLATES = (
        "secret://file/keys/{principal}",
        "secret://file/keys/{principal}.json",
        "secret://b/all#{principal}",
    )

    @given(st.sampled_from(TEMPLATES), st.text(min_size=1), st.text(min_size=1))
    def test_no_name_leads_elsewhere_or_to_anothers(self, template: str, one: str, other: str) -> None:
        pattern = SecretRef(template)
        assert pattern.personal
        found = pattern.of(one)
        assert not found.personal
        assert (found == pattern.of(other)) == (one == other)
        head, _, tail = template.partition("{principal}")
        word = found.removeprefix(head).removesuffix(tail)
        assert word.isascii()
        assert word.isprintable()
        assert not set(word) & set("/\\#:*?\"'$`~ ")
        assert not word.startswith(".")
        assert (found.backend, found.field is None) == (pattern.backend, pattern.field is None)

    @pytest.mark.parametrize("name", ["alice", "alice@example.com", "a-b_c.d", "4711"])
    def test_plain_names_stay_as_they_are(self, name: str) -> None:
        assert SecretRef("secret://env/T_{principal}").of(name).path == f"T_{name}"

    @pytest.mark.parametrize(
        "name, word", [("../x", "%2E.%2Fx"), ("\0", "%00"), ("é", "%C3%A9"), ("\ud800", "%ED%A0%80")]
    )
    def test_others_are_written_out(self, name: str, word: str) -> None:
        assert SecretRef("secret://env/T_{principal}").of(name).path == f"T_{word}"

    def test_nobody_has_no_secrets(self) -> None:
        with pytest.raises(ConfigError, match="without a name"):
            SecretRef("secret://env/T_{principal}").of("")

    async def test_those_of_many_are_forgotten_in_time(self) -> None:
        environ = {f"T_{number}": "x" for number in range(3000)}
        now = 0.0
        resolver = SecretResolver(environ=environ, ttl=10.0, clock=lambda: now)
        for number in range(3000):
            now += 0.1
            await resolver.resolve(SecretRef("secret://env/T_{principal}").of(str(number)))
            with pytest.raises(ConfigError):
                await resolver.resolve(SecretRef("secret://env/X_{principal}").of(str(number)))
        assert len(resolver._known) < 1200
        assert len(resolver._locks) < 1200

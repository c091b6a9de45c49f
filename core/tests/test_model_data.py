"""What data files know of models fills what is left open, overrides nothing, and is never needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gleitzeit import Chat, Config, Host, Model, Provider, Reply, Request, Target, listing
from gleitzeit.config import load
from gleitzeit.config.model import HostConfig
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import ConfigError, TooLongError
from gleitzeit.manifest import Shipped
from gleitzeit.modeldata import Known, ModelData, filled, read

PRICE = {"input": 2, "output": 8, "cached_input": 0.5}
DATA = {
    "date": "2026-11-01",
    "source": "https://acme.example/prices",
    "models": {
        "acme-1": {"context_tokens": 1000, "output_tokens": 100, "price": PRICE},
        "acme-*": {"context_tokens": 500},
    },
}


class AcmeConfig(BaseModel):
    base_url: str = "https://acme.example"


class Acme(Provider):
    """Tells what it was told of its model; knows one model itself."""

    Config: ClassVar[Any] = AcmeConfig
    complete: ClassVar[bool] = False

    def provide_models(self) -> Any:
        return [Model("acme-live", context_tokens=7, metadata={"price": {"input": 1}, "kept": True})]

    async def call(self, request: Request) -> Reply:
        assert isinstance(request.operation, Chat)
        assert isinstance(request.target, Target)
        if request.operation.options.get("acme", {}).get("limit") == request.name:
            raise TooLongError("too long", sent=True)
        model = request.target.model
        known = None if model is None else (model.context_tokens, model.output_tokens, dict(model.metadata))
        return Reply(request.name, data=known)


class Files:
    """The files of a package, and how often each was read."""

    def __init__(self, **files: bytes | None) -> None:
        self.files = files
        self.read: list[str] = []

    def __call__(self, name: str) -> bytes:
        self.read.append(name)
        data = self.files.get(name.removesuffix(".json"))
        if data is None:
            raise FileNotFoundError(2, "No such file or directory", name)
        return data


def installed(files: Files, name: str = "acme") -> Index:
    manifest = {"name": name, "patterns": ["acme-*"], "model_data": "models.json"}
    shipped = Shipped("a test", json.dumps(manifest).encode, name, "provider", beside=files)
    return Index([Entry(name, kind="provider", value="x:y", plugin=Acme, shipped=shipped)])


def package(data: object = DATA) -> Files:
    return Files(models=json.dumps(data).encode())


async def told(name: str, config: Mapping[str, Any] | str | Path, index: Index, **options: Any) -> Any:
    """What the provider was told of the model."""
    async with Host(config, environ={}, index=index) as host:
        return (await host.call(Chat("hi", options=options).to(name))).data


def written(folder: Path, data: object, name: str = "mine.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


async def test_a_model_that_nobody_lists_gets_what_the_package_knows() -> None:
    files = package()
    price = {"price": PRICE, "price_date": "2026-11-01"}
    async with Host({}, environ={}, index=installed(files)) as host:
        assert files.read == []
        for _ in range(3):
            assert (await host.call(Chat("hi").to("acme/acme-1"))).data == (1000, 100, price)
        assert (await host.call(Chat("hi").to("acme/acme-9"))).data == (500, None, {})
        assert (await host.call(Chat("hi").to("acme/other"))).data is None
    assert files.read == ["models.json"]


async def test_what_the_vendor_or_the_operator_says_is_never_overridden() -> None:
    models = [{"name": "acme-1", "context_tokens": 3, "metadata": {"price": {"input": 5}}}]
    index = installed(package())
    assert await told("acme/acme-1", {"providers": {"acme": {"models": models}}}, index) == (
        3,
        100,
        {"price": {"input": 5}},
    )
    async with Host({}, environ={}, index=index) as host:
        [offer] = await host.offers("models")
    [model] = offer.items
    assert (model.context_tokens, model.metadata) == (7, {"price": {"input": 1}, "kept": True})


async def test_live_models_are_filled_where_the_list_is_silent() -> None:
    files = package({"models": {"acme-live": {"context_tokens": 1, "output_tokens": 64}}})
    async with Host({}, environ={}, index=installed(files)) as host:
        [offer] = await host.offers("models")
    assert [(model.context_tokens, model.output_tokens) for model in offer.items] == [(7, 64)]


async def test_a_vendors_data_do_not_hold_at_another_address() -> None:
    files = package()
    assert await told("acme/acme-1", {"providers": {"acme": {"base_url": "x"}}}, installed(files)) is None
    assert files.read == []


@pytest.mark.parametrize(
    "data", [None, b"", b"{", b"[]", b'{"models": 3}', b'{"models": {"m": {"context_tokens": "x"}}}']
)
async def test_a_package_without_data_or_with_broken_ones_works_as_well(data: bytes | None) -> None:
    index = installed(Files(models=data))
    assert await told("acme/acme-1", {}, index) is None
    config = load(data={}, environ={}, index=index)
    assert [row.price for row in listing.models(index, config)] == [None]


async def test_the_operators_file_goes_before_what_is_shipped(tmp_path: Path) -> None:
    written(tmp_path, {"date": "2026-11-20", "models": {"acme/acme-1": {"price": {"input": 9}}}})
    config = tmp_path / "gleitzeit.toml"
    config.write_text('[host]\nmodel_data = ["mine.json", "shipped"]\n')
    mine = {"price": {"input": 9}, "price_date": "2026-11-20"}
    assert await told("acme/acme-1", config, installed(package())) == (1000, 100, mine)
    config.write_text('[host]\nmodel_data = ["mine.json"]\n')
    assert await told("acme/acme-1", config, installed(package())) == (None, None, mine)


async def test_all_of_it_can_be_switched_off() -> None:
    files = package()
    assert await told("acme/acme-1", {"host": {"model_data": []}}, installed(files)) is None
    assert files.read == []


async def test_the_operators_file_holds_at_any_address(tmp_path: Path) -> None:
    path = written(tmp_path, {"models": {"lab/*": {"context_tokens": 42}}})
    config = {
        "host": {"model_data": [str(path)]},
        "providers": {"lab": {"plugin": "acme", "base_url": "x"}},
    }
    assert await told("lab/anything", config, installed(package())) == (42, None, {})


@pytest.mark.parametrize(
    "text, key",
    [
        ("{", "it is no JSON"),
        ("[]", "expected an object"),
        ("{}", "models: expected an object"),
        ('{"models": {}, "modles": {}}', "modles: there is no such key; did you mean 'models'?"),
        ('{"models": {"m": 3}}', "models.m: expected an object"),
        ('{"models": {"m": {"context_token": 3}}}', "models.m.context_token: there is no such key; did you"),
        ('{"models": {"m": {"context_tokens": 0}}}', "models.m.context_tokens: expected a whole number"),
        ('{"models": {"m": {"output_tokens": true}}}', "models.m.output_tokens: expected a whole number"),
        ('{"models": {"m": {"price": 3}}}', "models.m.price: expected dollars"),
        ('{"models": {"m": {"price": {"output": 3}}}}', "models.m.price: expected dollars"),
        ('{"models": {"m": {"price": {"input": -1}}}}', "models.m.price.input: expected a number"),
        ('{"models": {"m": {"price": {"input": NaN}}}}', "models.m.price.input: expected a number"),
        ('{"models": {"m": {"price": {"input": 1, "out": 2}}}}', "models.m.price.out: there is no such key"),
        ('{"models": {}, "date": "yesterday"}', "date: expected a day such as 2026-01-31"),
        ('{"models": {}, "date": "2026-02-30"}', "date: expected a day"),
        ('{"models": {}, "source": 3}', "source: expected a text"),
    ],
)
def test_a_broken_file_of_the_operators_is_an_error_that_names_file_and_key(
    tmp_path: Path, text: str, key: str
) -> None:
    path = written(tmp_path, text)
    config = tmp_path / "gleitzeit.toml"
    config.write_text('[host]\ntimeout = 5\nmodel_data = ["mine.json"]\n')
    with pytest.raises(ConfigError) as caught:
        load(config, environ={})
    [problem] = caught.value.problems
    assert problem.startswith(f"{config}:3: host.model_data: {path}: {key}")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = Config(host=HostConfig(model_data=(str(tmp_path / "none.json"),)))
    with pytest.raises(ConfigError, match="it cannot be read: No such file"):
        Host(config, index=Index(()))


async def test_a_request_that_is_too_long_goes_on_to_a_larger_window_that_data_know() -> None:
    targets = ["acme/acme-9", "acme/acme-8", "acme/acme-1"]
    config = {"routes": {"r": {"targets": targets}}}
    async with Host(config, environ={}, index=installed(package())) as host:
        reply = await host.call(Chat("hi", options={"acme": {"limit": "acme-9"}}).to("r"))
    assert reply.text == "acme-1"
    async with Host({**config, "host": {"model_data": []}}, environ={}, index=installed(package())) as host:
        with pytest.raises(TooLongError):
            await host.call(Chat("hi", options={"acme": {"limit": "acme-9"}}).to("r"))


def test_listings_show_what_is_known_with_its_day() -> None:
    models = ["acme-1", {"name": "acme-2", "metadata": {"price": {"input": 1, "output": 2}}}]
    index = installed(package())
    config = load(data={"providers": {"acme": {"models": models}}}, environ={}, index=index)
    first, second = listing.models(index, config)
    assert (first.context_tokens, first.output_tokens) == (1000, 100)
    assert (first.price, first.price_date) == (PRICE, "2026-11-01")
    assert (second.context_tokens, second.price, second.price_date) == (500, {"input": 1, "output": 2}, "")


NAMES = st.text("ab*?-", min_size=1, max_size=6)


@given(keys=st.lists(NAMES, unique=True, max_size=8), names=st.lists(NAMES, min_size=1, max_size=2))
def test_the_exact_name_goes_before_the_longest_pattern(keys: list[str], names: list[str]) -> None:
    data = ModelData({key: {"context_tokens": number + 1} for number, key in enumerate(keys)})
    found = data.row(*names)
    exact = [name for name in names if name in keys]
    patterns = [
        key for key in keys if set(key) & set("*?[") and any(fnmatchcase(name, key) for name in names)
    ]
    if exact:
        assert found is data.rows[exact[0]]
    elif patterns:
        longest = max(len(key) for key in patterns)
        assert found is data.rows[next(key for key in patterns if len(key) == longest)]
    else:
        assert found is None


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "context_tokens": st.integers(1, 9),
        "output_tokens": st.integers(1, 9),
        "price": st.fixed_dictionaries({"input": st.integers(0, 9)}, optional={"output": st.integers(0, 9)}),
    },
)
SAID = st.fixed_dictionaries(
    {},
    optional={
        "context_tokens": st.none() | st.integers(1, 9),
        "output_tokens": st.none() | st.integers(1, 9),
        "metadata": st.dictionaries(st.sampled_from(["price", "family"]), st.integers()),
    },
)


@given(
    said=SAID, rows=st.lists(st.tuples(ROWS, st.sampled_from(["", "2026-01-01", "2026-01-02"])), max_size=4)
)
def test_filling_keeps_what_is_said_and_takes_the_first_that_knows(
    said: dict[str, Any], rows: list[tuple[dict[str, Any], str]]
) -> None:
    sources = [(ModelData({}, date=date), row) for row, date in rows]
    whole = {**said, **filled(said, sources)}
    for key in ("context_tokens", "output_tokens"):
        known = [said.get(key), *(row.get(key) for row, _ in rows)]
        assert whole.get(key) == next((value for value in known if value is not None), None)
    metadata, before = whole.get("metadata", {}), said.get("metadata", {})
    assert {key: metadata[key] for key in before} == before
    priced = next(((row["price"], date) for row, date in rows if "price" in row), None)
    if "price" not in before and priced is not None:
        assert (metadata["price"], metadata.get("price_date", "")) == priced
    else:
        assert metadata == before
    assert filled(whole, sources) == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["models", "date", "price", "input", "context_tokens", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_stands_in_a_file_it_is_data_or_a_config_error(data: Any) -> None:
    for strict in (False, True):
        problems: tuple[str, ...] | None = None
        try:
            parsed = ModelData.parse(data, strict=strict)
        except ConfigError as error:
            problems = error.problems
        else:
            assert parsed.rows == data["models"]
            filled({}, [(parsed, row) for row in parsed.rows.values()])
        assert problems != ()


def test_unknown_keys_are_let_pass_in_what_a_newer_package_ships() -> None:
    rows = {"m": {"context_tokens": 1, "tier": "x"}}
    assert ModelData.parse({"models": rows, "licence": "x"}).row("m") == rows["m"]


def test_the_same_file_serves_every_instance_of_a_plugin(tmp_path: Path) -> None:
    path = written(tmp_path, DATA)
    assert read(str(path)).source == "https://acme.example/prices"
    files = package()
    index = installed(files)
    config = load(
        data={"providers": {"a": {"plugin": "acme"}, "b": {"plugin": "acme"}}}, environ={}, index=index
    )
    known = Known()
    entry = index.entries[0]
    assert [known.add({}, "acme-9", each, entry) for each in config.instances] == [
        {"context_tokens": 500}
    ] * 2
    assert files.read == ["models.json"]

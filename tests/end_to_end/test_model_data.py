"""The data that our packages ship hold: dated, with their source, of models that the plugin claims."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from gleitzeit import Chat, Host
from gleitzeit.discovery import Entry, scan
from gleitzeit.modeldata import ModelData

ROOT = Path(__file__).parents[2]


def shipping() -> list[Entry]:
    return [entry for entry in scan().entries if entry.manifest is not None and entry.manifest.model_data]


def file_of(entry: Entry) -> Path:
    [path] = ROOT.glob(f"plugins/*/*/src/{entry.value.partition(':')[0]}/{entry.manifest.model_data}")  # type: ignore[union-attr]
    return path


def test_three_vendors_ship_data() -> None:
    assert {entry.name for entry in shipping()} >= {"openai", "anthropic", "gemini"}


@pytest.mark.parametrize("entry", shipping(), ids=lambda entry: entry.name)
def test_shipped_data_hold_and_say_when_and_whence(entry: Entry) -> None:
    data = ModelData.parse(json.loads(file_of(entry).read_text("utf-8")), strict=True)
    assert data.date >= "2026-01-01"
    assert data.source.startswith("https://")
    assert entry.shipped is not None
    assert entry.shipped.model_data is not None
    assert entry.shipped.model_data.rows == data.rows
    patterns = entry.manifest.patterns if entry.manifest is not None else ()
    for name, row in data.rows.items():
        assert any(fnmatchcase(name, pattern) for pattern in patterns), name
        assert row, name
        price = row.get("price")
        if price is not None:
            assert price.get("cached_input", 0) <= price["input"] <= 100, name
        if "output_tokens" in row and "context_tokens" in row:
            assert row["output_tokens"] <= row["context_tokens"], name


async def test_the_cheapest_compares_what_a_file_knows_and_works_without(tmp_path: Path) -> None:
    prices = {
        "dear/echo": {"price": {"input": 5, "output": 5}},
        "fair/*": {"price": {"input": 1, "output": 1}},
    }
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"models": prices}))
    config = {
        "providers": {name: {"plugin": "scripted"} for name in ("unknown", "dear", "fair")},
        "routes": {"r": {"targets": ["unknown/echo", "dear/echo", "fair/echo"], "strategy": "cheapest"}},
    }
    async with Host({**config, "host": {"model_data": [str(path)]}}, environ={}) as host:
        for _ in range(5):
            assert str((await host.call(Chat("hi").to("r"))).target) == "fair/echo"
    async with Host({**config, "host": {"model_data": []}}, environ={}) as host:
        assert (await host.call(Chat("hi").to("r"))).text == "hi"

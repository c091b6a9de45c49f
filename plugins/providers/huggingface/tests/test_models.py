"""Where names lead, and where they never do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_huggingface import HuggingFaceConfig
from gleitzeit_plugin_huggingface.models import Models
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import UnknownModelError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the files of a model into a folder below the test's own."""

    def run(place: str, *architectures: str, template: str = "", files: tuple[str, ...] = ()) -> Path:
        folder = tmp_path / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(
            json.dumps({"architectures": architectures, "max_position_embeddings": 512})
        )
        (folder / "model.safetensors").touch()
        if template:
            (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        for name in files:
            (folder / name).write_text("[]")
        return folder

    return run


@pytest.fixture
def cached(tmp_path: Path, write: Write) -> Callable[..., Path]:
    """Writes a model into the cache, as Hugging Face's own tools do."""

    def run(name: str, *architectures: str, commit: str = "abc123", revision: str = "main") -> Path:
        root = f"hub/models--{name.replace('/', '--')}"
        folder = write(f"{root}/snapshots/{commit}", *architectures)
        refs = tmp_path / root / "refs"
        refs.mkdir(exist_ok=True)
        (refs / revision).write_text(commit)
        return folder

    return run


def models(tmp_path: Path, **config: Any) -> Models:
    return Models("here", HuggingFaceConfig(**{"cache": str(tmp_path / "hub"), **config}))


def test_a_name_leads_to_paths_then_folders_then_the_cache(
    tmp_path: Path, write: Write, cached: Callable[..., Path]
) -> None:
    mine, org = write("mine", "XForCausalLM"), write("folder/org/name", "XForCausalLM")
    other = cached("org/other", "XForCausalLM")
    cached("org/name", "XForCausalLM")
    found = models(tmp_path, paths={"tiny": str(mine)}, folders=(str(tmp_path / "folder"),))
    assert found.source("tiny") == {"path": str(mine)}
    assert found.source("org/name") == {"path": str(org)}
    assert found.source("org/other") == {"path": str(other)}


def test_a_revision_is_found_by_name_and_by_commit(tmp_path: Path, cached: Callable[..., Path]) -> None:
    folder = cached("org/name", "XForCausalLM", commit="def456", revision="v2")
    found = models(tmp_path)
    assert found.source("org/name@v2") == found.source("org/name@def456") == {"path": str(folder)}
    with pytest.raises(UnknownModelError):
        found.source("org/name")


def test_what_is_not_here_is_downloaded_only_where_that_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="download = true") as caught:
        models(tmp_path).source("org/name")
    assert caught.value.sent is False
    allowed = models(tmp_path, download=True)
    assert allowed.source("org/name@v1") == {"repo": "org/name", "revision": "v1"}


def test_a_download_that_was_begun_only_is_gone_on_with(tmp_path: Path, cached: Callable[..., Path]) -> None:
    (cached("org/name", "XForCausalLM") / "model.safetensors").unlink()
    assert models(tmp_path, download=True).source("org/name") == {"repo": "org/name", "revision": None}


def test_a_misspelt_name_is_told_what_is_near(tmp_path: Path, cached: Callable[..., Path]) -> None:
    cached("org/name", "XForCausalLM")
    with pytest.raises(UnknownModelError) as caught:
        models(tmp_path).source("org/nmae")
    assert caught.value.near == ("org/name",)


@pytest.mark.parametrize(
    "name", ["/etc", "../up", "a/../b", ".", "a/b/c", "~root", "a/.hidden", "", "a@../../b", "a//b", "C:\\x"]
)
@pytest.mark.parametrize("download", [False, True])
def test_no_name_leads_anywhere_else(tmp_path: Path, name: str, download: bool) -> None:
    with pytest.raises(UnknownModelError):
        models(tmp_path, folders=(str(tmp_path),), download=download).source(name)


@given(st.text(st.sampled_from("ab./@~\\-_\0"), max_size=12))
def test_whatever_a_request_names_stays_below_the_configured_folders(name: str) -> None:
    found = models(Path("/nowhere"), folders=("/nowhere/models",), download=True)
    try:
        source = found.source(name)
    except UnknownModelError:
        return
    assert ".." not in source["repo"].split("/")
    assert not source["repo"].startswith(("/", ".", "~"))


def test_what_files_say_of_a_model_is_listed(
    tmp_path: Path, write: Write, cached: Callable[..., Path]
) -> None:
    write("all/chatty", "QwenForCausalLM", template="{% if tools %}<think>")
    write("all/plain", "GPT2LMHeadModel")
    write("all/org/judge", "BertForSequenceClassification")
    write("all/vectors", "BertModel", files=("modules.json",))
    write("all/vectors/1_Pooling", "Odd")
    write("all/pictures", "CLIPForImages")
    cached("org/cached", "MistralForCausalLM")
    listed = {m.name: m for m in models(tmp_path, folders=(str(tmp_path / "all"),)).listing()}
    assert {name: set(model.operations) for name, model in listed.items()} == {
        "chatty": {"chat", "completion"},
        "plain": {"completion"},
        "org/judge": {"classification"},
        "vectors": {"embedding"},
        "org/cached": {"completion"},
    }
    assert listed["chatty"].capabilities == {"streaming", "tools", "thinking"}
    assert listed["chatty"].context_tokens == 512


def test_files_that_are_broken_break_no_listing(tmp_path: Path, write: Write) -> None:
    for number, text in enumerate(("", "[]", "{", '{"architectures": 3}', '{"architectures": [3]}')):
        (write(f"all/m{number}", "X") / "config.json").write_text(text)
    assert models(tmp_path, folders=(str(tmp_path / "all"),)).listing() == []


def test_the_cache_is_where_hugging_face_has_it() -> None:
    config = HuggingFaceConfig()
    assert config.hub({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert config.hub({"HF_HOME": "/b"}) == Path("/b/hub")
    assert config.hub({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")
    assert config.hub({"HOME": "/d"}) == Path("~/.cache/huggingface/hub").expanduser()
    assert HuggingFaceConfig(cache="/e").hub({"HF_HUB_CACHE": "/a"}) == Path("/e")

"""What is found, and in which order."""

from __future__ import annotations

import pytest
from gleitzeit_plugin_tool_search.bm25 import Index
from gleitzeit_plugin_tool_search.meaning import fused
from gleitzeit_plugin_tool_search.words import fields, terms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.values import Tool

#: How long an example takes says nothing on a busy machine.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.sampled_from(["read", "write", "file", "log", "time", "zone", "commit", "branch"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
DOCUMENTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 3.0]), TEXTS)),
    max_size=8,
)


@pytest.mark.parametrize(
    "text, words",
    [
        ("readFile", ["readfil", "read", "file"]),
        ("read_files", ["read", "file"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("list-directories", ["list", "directory"]),
        ("status, class!", ["status", "class"]),
        ("Größe_ändern", ["gröss", "ändern"]),
        ("create creates creating created", ["creat"] * 4),
        ("run running list listing call calling", ["run", "run", "list", "list", "call", "call"]),
        ("string thing feed", ["string", "thing", "feed"]),
        ("", []),
    ],
)
def test_words_are_compared_by_their_parts_and_stems(text: str, words: list[str]) -> None:
    assert terms(text) == words


@calm
@given(DOCUMENTS, TEXTS)
def test_only_what_has_one_of_the_words_is_found_and_always_in_one_order(documents, query) -> None:
    index = Index(documents)
    ranked = index.rank(query)
    scores = index.scores(query)
    wanted = set(terms(query))
    having = {
        name
        for name, texts in documents.items()
        if wanted & {term for _, text in texts for term in terms(text)}
    }
    assert set(ranked) == set(scores) == having
    assert len(ranked) == len(having)
    assert all(score > 0 for score in scores.values())
    assert ranked == sorted(ranked, key=lambda name: (-scores[name], name))
    assert Index(dict(reversed(documents.items()))).rank(query) == ranked


@calm
@given(DOCUMENTS, TEXTS, st.sets(st.text("abc", min_size=1, max_size=3)))
def test_a_search_among_some_keeps_their_order(documents, query, among) -> None:
    index = Index(documents)
    assert index.rank(query, among) == [name for name in index.rank(query) if name in among]


@calm
@given(DOCUMENTS, WORDS)
def test_one_more_of_the_word_never_makes_it_worse_for_the_same_length(documents, word) -> None:
    plain = {**documents, "x": [(1.0, f"{word} other other")], "y": [(1.0, f"{word} {word} other")]}
    scores = Index(plain).scores(word)
    assert scores["y"] > scores["x"]


@calm
@given(st.permutations("abcdef"))
def test_rankings_that_agree_are_kept_when_they_are_fused(names) -> None:
    assert fused(names, names) == list(names)


def test_a_name_counts_more_than_a_description_and_parameters_count() -> None:
    tools = {
        "git/git_log": Tool("git_log", description="Shows the commits"),
        "git/git_show": Tool("git_show", description="Shows what is in the log of a commit"),
        "fs/stat": Tool("stat", input_schema={"type": "object", "properties": {"path": {"type": "string"}}}),
        "time/now": Tool("now", tags={"clock"}),
    }
    index = Index({name: fields(name, tool) for name, tool in tools.items()})
    assert index.rank("log") == ["git/git_log", "git/git_show"]
    assert index.rank("paths") == ["fs/stat"]
    assert index.rank("clock") == ["time/now"]
    assert index.rank("quantum physics") == []

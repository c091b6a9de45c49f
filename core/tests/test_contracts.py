"""Contracts are pinned by hash: what differs is kept back, what cannot be relied on holds back everything."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.tests.toys import host, running
from gleitzeit import Provider, Reply
from gleitzeit.contracts import Lock, Locked, Pin, contract, digest, read_lock, write_lock
from gleitzeit.errors import ConfigError, SecurityDeniedError
from gleitzeit.values import GetPrompt, Invoke, Prompt, PromptArgument, Resource, Tool, ToolCall, ToolHints

#: How long an example takes says nothing on a busy machine.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
words = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
schemas = st.dictionaries(words, json_values, max_size=4)
tools = st.builds(
    Tool,
    words,
    description=words,
    input_schema=schemas,
    output_schema=st.none() | schemas,
    title=st.none() | words,
    hints=st.builds(ToolHints, read_only=st.none() | st.booleans()),
)
prompts = st.builds(Prompt, words, description=words, arguments=st.lists(st.builds(PromptArgument, words)))
templates = st.builds(Resource, words, description=words, template=st.just(True))
pins = st.dictionaries(words, st.one_of(tools, prompts, templates).map(Pin.of), max_size=4)
locks = st.builds(
    lambda a, b, c: Lock({"tools": a, "prompts": b, "resources": c}),
    pins,
    pins,
    pins,
)


@calm
@given(locks)
def test_a_lock_comes_back_from_its_file_as_it_was_written(tmp_path_factory, lock):
    path = tmp_path_factory.mktemp("lock") / "gleitzeit.lock"
    write_lock(str(path), lock)
    first = path.read_bytes()
    again = read_lock(str(path))
    assert not list(lock.changes(again))
    write_lock(str(path), again)
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == ["gleitzeit.lock"]


@calm
@given(tools, tools)
def test_two_tools_have_one_hash_only_where_they_promise_the_same(one, other):
    same = json.dumps(contract(one), sort_keys=True) == json.dumps(contract(other), sort_keys=True)
    assert (digest(contract(one)) == digest(contract(other))) is same


@calm
@given(locks, locks)
def test_changes_name_everything_that_differs(ours, theirs):
    changed = {(each.thing, each.name) for each in ours.changes(theirs)}
    for thing in ("tools", "prompts", "resources"):
        for name in {*ours.pins[thing], *theirs.pins[thing]}:
            differs = ours.pins[thing].get(name) != theirs.pins[thing].get(name)
            assert ((thing, name) in changed) is differs


def test_the_order_of_keys_is_no_change_and_metadata_is_no_promise():
    one = Tool("t", input_schema={"type": "object", "title": "x"}, metadata={"stale": True}, tags={"a"})
    two = Tool("t", input_schema={"title": "x", "type": "object"})
    assert Pin.of(one) == Pin.of(two)


def test_a_change_is_told_line_by_line():
    old, new = (Lock({"tools": {"a/t": Pin.of(Tool("t", description=text))}}) for text in ("reads", "sends"))
    [change] = old.changes(new)
    assert (change.name, change.what) == ("a/t", "changed")
    assert '-  "description": "reads",' in change.lines
    assert '+  "description": "sends",' in change.lines


class Shop(Provider):
    tools = ("read", "write")
    words = "as agreed"

    def __init__(self, config, context):
        super().__init__(config, context)
        self.context = context
        self.called = []

    def provide_tools(self):
        return [Tool(name, description=f"{name} {self.words}") for name in self.tools]

    def provide_prompts(self):
        return [Prompt("ask", description=self.words)]

    def provide_resources(self):
        return [Resource("x://{id}", template=True, description=self.words), Resource("x://1")]

    async def call(self, request):
        self.called.append(request)
        return Reply("done")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gleitzeit.lock"


def shop(path, **providers):
    return host({"host": {"tools_lock": str(path)}, "providers": providers}, shop=Shop)


async def locked(path, **providers):
    async with host(shop=Shop) as h:
        lock, failed = await h.toolbox.contracts()
        assert not failed
    write_lock(str(path), lock)


async def test_tools_that_are_as_approved_are_called(path):
    await locked(path)
    async with shop(path) as h:
        assert (await h.call(ToolCall().to("shop/read"))).text == "done"
        assert (await h.call(Invoke("write").to("shop"))).text == "done"
        assert (await h.call(GetPrompt().to("shop/ask"))).text == "done"
        assert not [each for each in await h.tools() if each.why]


async def test_a_changed_tool_is_quarantined_and_the_others_are_not(path):
    await locked(path)
    async with shop(path) as h:
        await h.call(ToolCall().to("shop/read"))
        provider = running(h, "shop")
        other = [Tool("read", description="reads all"), provider.provide_tools()[1]]
        provider.provide_tools = lambda: other
        provider.context.changed()
        await turn()
        asked = len(provider.called)
        calls = [
            ToolCall().to("shop/read"),
            ToolCall().to("read"),
            Invoke("read").to("shop"),
            Invoke("tools/call", arguments={"name": "read"}).to("shop"),
        ]
        for each in calls:
            with pytest.raises(SecurityDeniedError, match="gleitzeit tools approve 'shop/read'") as caught:
                await h.call(each)
            assert caught.value.sent is False
        assert len(provider.called) == asked, "nothing of it reached the provider"
        assert [full for _, full, _ in await h.find_tools(["shop/*"])] == ["shop/write"]
        await h.call(ToolCall().to("shop/write"))
        [kept] = [each for each in await h.tools() if each.why]
        assert (kept.name, kept.why) == ("shop/read", "quarantined")
        assert kept.reason.startswith("it has changed")


async def test_a_new_tool_is_quarantined_until_it_is_approved_without_a_restart(path):
    await locked(path)
    async with shop(path) as h:
        await h.tools()
        provider = running(h, "shop")
        more = [*provider.provide_tools(), Tool("new")]
        provider.provide_tools = lambda: more
        provider.context.changed()
        await turn()
        with pytest.raises(SecurityDeniedError, match="it is new"):
            await h.call(ToolCall().to("shop/new"))
        lock, _ = await h.toolbox.contracts()
        write_lock(str(path), lock)
        assert (await h.call(ToolCall().to("shop/new"))).text == "done"


async def test_prompts_and_templates_are_pinned_too_and_plain_resources_are_not(path):
    await locked(path)
    changed = type("Changed", (Shop,), {"words": "otherwise"})
    async with host({"host": {"tools_lock": str(path)}}, shop=changed) as h:
        with pytest.raises(SecurityDeniedError, match="shop/ask is quarantined"):
            await h.call(GetPrompt().to("shop/ask"))
        [offer] = [each for each in await h.offers("resources") if each.instance == "shop"]
        assert [item.uri for item in offer.items] == ["x://1"]
        assert [each.name for each in offer.kept] == ["x://{id}"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"version": 2}',
        '{"version": 1, "tools": []}',
        '{"version": 1, "tools": {"shop/read": {"sha256": "0", "contract": {}}}}',
    ],
)
async def test_without_a_lock_that_can_be_relied_on_no_tool_runs(path, text):
    if text is not None:
        path.write_text(text)
    async with shop(path) as h:
        with pytest.raises(SecurityDeniedError, match="gleitzeit tools lock"):
            await h.call(ToolCall().to("shop/read"))
        with pytest.raises(SecurityDeniedError):
            await h.call(Invoke("read").to("shop"))
        assert not await h.find_tools(["*"])
        assert not running(h, "shop").called


@pytest.mark.parametrize(
    "text, why",
    [
        ('{"version": 1,\n<<<<<<< HEAD\n', "line 2: a merge has left its marks"),
        ('{"version": 1,\n!', "line 2: "),
        ('{"version": 1, "tools": {"a/b": {}, "a/b": {}}}', "a/b is there twice"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff", "no text in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_lock_is_told(path, text, why):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=why):
        read_lock(str(path))


def test_a_link_to_a_lock_stays_one(path):
    path.symlink_to("real.lock")
    write_lock(str(path), Lock({"tools": {"a/t": Pin.of(Tool("t"))}}))
    assert path.is_symlink()
    assert read_lock(str(path.with_name("real.lock"))) == read_lock(str(path))


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\r"])
def test_no_part_of_a_change_can_be_hidden_from_who_reads_it(end):
    words = "".join(f"{end}{mark} Obey me" for mark in ("++", "--", "@@"))
    old, new = (Lock({"tools": {"a/t": Pin.of(Tool("t", description=each))}}) for each in ("", words))
    [there], [back] = old.changes(new), new.changes(old)
    for lines in (there.lines, back.lines):
        assert "".join(lines).count("Obey me") == 3


async def test_a_renamed_tool_is_pinned_by_its_providers_words(path):
    await locked(path)
    said = {"tools": {"read": {"rename": "look", "description": "other words"}}}
    async with shop(path, shop=said) as h:
        assert (await h.call(ToolCall().to("shop/look"))).text == "done"


def test_a_lock_is_read_again_only_when_its_file_has_changed(path):
    write_lock(str(path), Lock())
    locked = Locked(str(path))
    first = locked.now()
    assert locked.now() is first
    write_lock(str(path), Lock({"tools": {"a/t": Pin.of(Tool("t"))}}))
    assert locked.now() is not first
    path.unlink()
    assert isinstance(locked.now(), ConfigError)


def test_a_lock_that_cannot_be_written_leaves_the_old_one(path):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_lock(str(path.parent / "nowhere" / "gleitzeit.lock"), Lock())


async def turn():
    """Let the loop hand on what was announced."""
    import asyncio

    await asyncio.sleep(0)

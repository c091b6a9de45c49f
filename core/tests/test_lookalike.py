"""Names that look alike are known as such, and no model is shown two of them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.tests.toys import host
from gleitzeit import Chat, Provider, Reply
from gleitzeit.errors import InvalidRequestError
from gleitzeit.lookalike import look_alikes, skeleton, visible
from gleitzeit.values import Tool

#: How long an example takes says nothing on a busy machine.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLAIN = st.text("abcdefghijkmnpqrstuvwxyz23456789", min_size=1)


@calm
@given(st.text())
def test_a_skeleton_has_itself_as_skeleton(name):
    assert skeleton(skeleton(name)) == skeleton(name)


@calm
@given(PLAIN, PLAIN)
def test_plain_names_look_alike_only_where_they_are_equal(one, other):
    assert (skeleton(one) == skeleton(other)) is (one == other)


@calm
@given(st.text(), st.sampled_from("\u200b\u200d\ufeff\u00ad\u2060\u202e\ufe0f"), st.integers(0, 20))
def test_what_cannot_be_seen_makes_no_difference(name, unseen, at):
    assert skeleton(name[:at] + unseen + name[at:]) == skeleton(name)


@pytest.mark.parametrize(
    "one, other",
    [
        ("read_file", "read-file"),
        ("read_file", "Read_File"),
        ("read_file", "re\u0430d_file"),
        ("read_file", "read\u200b_file"),
        ("read_file", "\uff52ead_file"),
        ("read_file", "read_fi1e"),
        ("read_file", "read_fiIe"),
        ("read_fi\uff29e", "read_file"),
        ("Image", "image"),
        ("pay", "\u0440\u0430\u0443"),
        ("git/log", "git__log"),
    ],
)
def test_names_that_the_eye_takes_for_one_another(one, other):
    assert look_alikes([one, "else", other]) == [(one, other)]


@pytest.mark.parametrize(
    "text, shown",
    [
        ("read_file", "read_file"),
        ("Größe 長さ жук", "Größe 長さ ж\\u0443\\u043a"),
        ("re\u0430d\u200b", "re\\u0430d\\u200b"),
        ("a\x1b[2J", "a\\x1b[2J"),
    ],
)
def test_what_could_deceive_a_reader_is_escaped(text, shown):
    assert visible(text) == shown


class Office(Provider):
    names = ("read_file",)

    def provide_tools(self):
        return [Tool(name) for name in self.names]

    async def call(self, request):
        return Reply("done", finish_reason="stop")


def office(*names, config=None):
    return host(config, office=type("Named", (Office,), {"names": names}))


@pytest.mark.parametrize("other", ["read-file", "re\u0430d_file", "read_file\u200b"])
async def test_a_model_is_not_shown_two_tools_that_look_alike(other):
    async with office("read_file", other) as h:
        with pytest.raises(InvalidRequestError, match="could not tell these tools apart") as caught:
            await h.converse(Chat("go").to("good/m"), tools=["office/*"])
        text = str(caught.value)
        assert ascii("office/read_file") in text
        assert ascii(f"office/{other}") in text
        assert "rename" in text
        await h.converse(Chat("go").to("good/m"), tools=["office/read_file"])


async def test_renaming_one_of_them_settles_it():
    said = {"providers": {"office": {"tools": {"read-file": {"rename": "fetch"}}}}}
    async with office("read_file", "read-file", config=said) as h:
        await h.converse(Chat("go").to("good/m"), tools=["office/*"])


async def test_a_tool_of_the_application_counts_as_well():
    async with office("read_file") as h:
        with pytest.raises(InvalidRequestError, match="apart"):
            await h.converse(
                Chat("go", tools=[Tool("office__read_file")]).to("good/m"), tools=["office/read_file"]
            )

"""Hypothesis strategies for every value of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from hypothesis import strategies as st

from gleitzeit.errors import GleitzeitError, OverloadedError, RateLimitedError
from gleitzeit.policy import Policy, SecurityLevel
from gleitzeit.values import (
    Attempt,
    AudioPart,
    Chat,
    Choice,
    Classification,
    Completion,
    DataClass,
    Embedding,
    Event,
    FilePart,
    Finished,
    FinishReason,
    GetPrompt,
    Health,
    HealthStatus,
    ImagePart,
    Invoke,
    Label,
    Limit,
    Message,
    Model,
    Operation,
    Part,
    PartDone,
    Progress,
    Prompt,
    PromptArgument,
    ProviderState,
    RateLimits,
    ReadResource,
    Reply,
    Request,
    Resource,
    ResponseSchema,
    Route,
    Started,
    Target,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
    ToolHints,
    ToolResultPart,
    Usage,
    UsageUpdate,
    Verdict,
)

__all__ = [
    "attempts",
    "events",
    "healths",
    "json_objects",
    "json_values",
    "messages",
    "models",
    "names",
    "operations",
    "parts",
    "policies",
    "prompts",
    "provider_states",
    "rate_limits",
    "replies",
    "requests",
    "resources",
    "routes",
    "targets",
    "texts",
    "tools",
    "usages",
    "verdicts",
]

_INTS: Final = st.integers(-(2**53), 2**53)
_FLOATS: Final = st.floats(allow_nan=False, allow_infinity=False)
_COUNTS: Final = st.none() | st.integers(0, 10**6)
_SECONDS: Final = st.none() | st.floats(0, 1e6)


def texts(max_size: int = 20) -> st.SearchStrategy[str]:
    """Text that JSON can carry, with characters of every plane."""
    return st.text(st.characters(blacklist_categories=["Cs"]), max_size=max_size)


def names() -> st.SearchStrategy[str]:
    """Names as people give them."""
    return st.from_regex(r"[a-z][a-z0-9_.-]{0,11}", fullmatch=True)


def json_values() -> st.SearchStrategy[Any]:
    """Anything that JSON can say."""
    leaves = st.none() | st.booleans() | _INTS | _FLOATS.filter(lambda x: not x.is_integer()) | texts()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(8), inner, max_size=3),
        max_leaves=6,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects."""
    return st.dictionaries(texts(8), json_values(), max_size=3)


def provider_states() -> st.SearchStrategy[ProviderState]:
    """Opaque state; its text must come back byte for byte."""
    return st.builds(ProviderState, names(), data=texts(60))


def _states() -> st.SearchStrategy[ProviderState | None]:
    return st.none() | provider_states()


def _media() -> Mapping[str, st.SearchStrategy[Any]]:
    return {
        "data": st.none() | st.binary(max_size=20),
        "url": st.none() | st.just("https://example.org/x"),
        "media_type": st.none() | st.sampled_from(["image/png", "audio/wav", "application/pdf"]),
        "provider_state": _states(),
    }


def _calls() -> st.SearchStrategy[ToolCallPart]:
    return st.builds(
        ToolCallPart,
        names(),
        name=names(),
        arguments=st.none() | json_objects(),
        raw=st.none() | texts(),
        provider_state=_states(),
    )


def _simple_parts() -> st.SearchStrategy[Part]:
    return st.one_of(
        st.builds(TextPart, texts(), provider_state=_states()),
        st.builds(ThinkingPart, texts(), provider_state=_states()),
        st.builds(ImagePart, detail=st.sampled_from([None, "low", "high"]), **_media()),
        st.builds(AudioPart, **_media()),
        st.builds(FilePart, name=st.none() | names(), file_id=st.none() | names(), **_media()),
    )


def parts() -> st.SearchStrategy[Part]:
    """Parts of all kinds."""
    results = st.builds(
        ToolResultPart,
        names(),
        name=st.none() | names(),
        parts=st.lists(_simple_parts(), max_size=2),
        is_error=st.booleans(),
        provider_state=_states(),
    )
    return _simple_parts() | _calls() | results


def messages() -> st.SearchStrategy[Message]:
    """Turns with any parts."""
    roles = st.sampled_from(["system", "user", "assistant", "tool"])
    return st.builds(Message, roles, st.lists(parts(), max_size=3), name=st.none() | names())


def usages() -> st.SearchStrategy[Usage]:
    """Usage, often with counts that were not reported."""
    return st.builds(
        Usage,
        input=_COUNTS,
        output=_COUNTS,
        cache_read=_COUNTS,
        cache_write=_COUNTS,
        reasoning=_COUNTS,
        raw=st.none() | json_objects(),
    )


def rate_limits() -> st.SearchStrategy[RateLimits]:
    """What an upstream says of its limits, often in part only."""
    one = st.none() | st.builds(Limit, _COUNTS, _COUNTS, _SECONDS)
    return st.builds(RateLimits, requests=one, tokens=one, input_tokens=one, output_tokens=one)


def models() -> st.SearchStrategy[Model]:
    """Models."""
    return st.builds(
        Model,
        names(),
        operations=st.lists(st.sampled_from([Chat, Embedding, "completion"]), max_size=2),
        capabilities=st.lists(names(), max_size=2),
        description=texts(),
        version=st.none() | names(),
        context_tokens=_COUNTS,
        output_tokens=_COUNTS,
        metadata=json_objects(),
    )


def tools() -> st.SearchStrategy[Tool]:
    """Tools with schemas of the usual kind."""
    properties = st.dictionaries(
        names(), st.sampled_from([{"type": "string"}, {"type": "integer"}]), max_size=3
    )
    schemas = properties.map(
        lambda found: {"type": "object", "properties": found, "required": sorted(found)[:1]}
    )
    said = st.sampled_from([None, True, False])
    return st.builds(
        Tool,
        st.builds(lambda a, b: f"{a}/{b}", names(), names()) | names(),
        description=texts(),
        input_schema=st.just({"type": "object"}) | schemas,
        output_schema=st.none() | schemas,
        title=st.none() | texts(),
        hints=st.builds(ToolHints, read_only=said, destructive=said, idempotent=said, open_world=said),
        category=st.none() | names(),
        tags=st.lists(names(), max_size=2),
        metadata=json_objects(),
    )


def resources() -> st.SearchStrategy[Resource]:
    """Resources."""
    return st.builds(
        Resource,
        st.just("file:///x"),
        name=names(),
        description=texts(),
        media_type=st.none() | names(),
        size=_COUNTS,
        template=st.booleans(),
        metadata=json_objects(),
    )


def prompts() -> st.SearchStrategy[Prompt]:
    """Prompt templates."""
    arguments = st.builds(PromptArgument, names(), description=texts(), required=st.booleans())
    return st.builds(
        Prompt,
        names(),
        description=texts(),
        arguments=st.lists(arguments, max_size=2),
        metadata=json_objects(),
    )


def targets() -> st.SearchStrategy[Target]:
    """Targets."""
    return st.builds(
        Target,
        names(),
        name=names(),
        plugin=names(),
        local=st.booleans(),
        sandbox=st.none() | names(),
        repeatable=st.booleans(),
        model=st.none() | models(),
        tool=st.none() | tools(),
    )


def routes(*, inside: bool = True) -> st.SearchStrategy[Route]:
    """Routes, with routes in them where `inside`."""
    choices: st.SearchStrategy[Choice] = targets() | routes(inside=False) if inside else targets()
    return st.builds(
        Route,
        names(),
        operation=st.sampled_from(["chat", "tool_call"]),
        targets=st.lists(choices, max_size=2).map(tuple),
        strategy=names(),
        options=json_objects(),
    )


def _sampling() -> Mapping[str, st.SearchStrategy[Any]]:
    return {
        "max_tokens": st.none() | st.integers(1, 4096),
        "temperature": st.none() | st.floats(0, 2),
        "top_p": st.none() | st.floats(0, 1),
        "stop": st.lists(texts(4), max_size=4),
        "seed": st.none() | st.integers(0, 2**31),
        "options": st.dictionaries(names(), json_objects(), max_size=2),
    }


def operations(*kinds: type[Operation]) -> st.SearchStrategy[Operation]:
    """Everything that can be asked; only of these kinds where some are named."""
    inputs = st.lists(texts(), max_size=3)
    options = st.dictionaries(names(), json_objects(), max_size=1)
    schemas = st.builds(ResponseSchema, json_objects(), name=names(), strict=st.booleans())
    known: dict[type[Operation], st.SearchStrategy[Operation]] = {
        Chat: st.builds(
            Chat,
            st.lists(messages(), max_size=3),
            tools=st.lists(tools(), max_size=2),
            tool_choice=st.sampled_from(["auto", "none", "required"]) | names(),
            parallel_tool_calls=st.sampled_from([None, True, False]),
            response_schema=st.none() | schemas,
            reasoning=st.none() | names(),
            **_sampling(),
        ),
        Completion: st.builds(Completion, texts(), **_sampling()),
        Embedding: st.builds(Embedding, inputs, dimensions=_COUNTS, options=options),
        Classification: st.builds(
            Classification, inputs, labels=st.lists(names(), max_size=2), options=options
        ),
        ToolCall: st.builds(ToolCall, json_objects()),
        Invoke: st.builds(
            Invoke, names(), arguments=json_objects(), args=st.lists(json_values(), max_size=2)
        ),
        ReadResource: st.builds(ReadResource, st.just("file:///x")),
        GetPrompt: st.builds(GetPrompt, st.dictionaries(names(), texts(), max_size=2)),
    }
    return st.one_of([known[kind] for kind in kinds or known])


def requests() -> st.SearchStrategy[Request]:
    """Requests for any operation."""
    return st.builds(
        Request,
        operations(),
        target=names() | targets(),
        id=names(),
        principal=st.none() | names(),
        deadline=_SECONDS,
        idempotency_key=st.none() | names(),
        data_class=st.sampled_from(get_args(DataClass)),
        strategy=st.none() | names(),
        stream=st.booleans(),
        metadata=json_objects(),
    )


def attempts() -> st.SearchStrategy[Attempt]:
    """Attempts that failed. Errors compare by identity: compare what they say."""
    errors = st.builds(
        lambda cls, text, **details: cls(text, **details),
        st.sampled_from([GleitzeitError, RateLimitedError, OverloadedError]),
        texts(),
        status=st.none() | st.just(429),
        retry_after=_SECONDS,
        hint=st.none() | names(),
    )
    return st.builds(Attempt, targets(), error=errors, usage=st.none() | usages())


def replies(*, failed_attempts: bool = False) -> st.SearchStrategy[Reply]:
    """Answers to any operation; `failed_attempts` adds values that hold errors."""
    return st.builds(
        Reply,
        st.lists(parts(), max_size=3),
        finish_reason=st.none() | st.sampled_from(get_args(FinishReason)),
        raw_finish_reason=st.none() | names(),
        usage=st.none() | usages(),
        model=st.none() | names(),
        id=st.none() | names(),
        vectors=_vectors(),
        labels=_labels(),
        data=json_values(),
        is_error=st.booleans(),
        messages=st.lists(messages(), max_size=1).map(tuple),
        target=st.none() | targets(),
        limits=st.none() | rate_limits(),
        attempts=st.lists(attempts(), max_size=1).map(tuple) if failed_attempts else st.just(()),
    )


def _vectors() -> st.SearchStrategy[tuple[tuple[float, ...], ...] | None]:
    finite = st.floats(-1, 1, width=32)
    return st.none() | st.lists(st.lists(finite, max_size=3).map(tuple), max_size=2).map(tuple)


def _labels() -> st.SearchStrategy[tuple[tuple[Label, ...], ...] | None]:
    labels = st.builds(Label, names(), score=st.none() | st.floats(0, 1))
    return st.none() | st.lists(st.lists(labels, max_size=2).map(tuple), max_size=2).map(tuple)


def events() -> st.SearchStrategy[Event]:
    """Events of all kinds."""
    index = st.integers(0, 5)
    maybe = st.none() | names()
    return st.one_of(
        st.builds(
            Started, id=maybe, model=maybe, target=st.none() | targets(), limits=st.none() | rate_limits()
        ),
        st.builds(TextDelta, texts(), index=index),
        st.builds(ThinkingDelta, texts(), index=index),
        st.builds(ToolCallDelta, index, id=maybe, name=maybe, arguments=texts()),
        st.builds(PartDone, parts(), index=st.none() | index),
        st.builds(Progress, _FLOATS, total=st.none() | _FLOATS, message=st.none() | texts()),
        st.builds(UsageUpdate, usages()),
        st.builds(
            Finished,
            st.sampled_from(get_args(FinishReason)),
            raw_finish_reason=maybe,
            usage=st.none() | usages(),
            id=maybe,
            model=maybe,
            data=json_values(),
            is_error=st.booleans(),
            vectors=_vectors(),
            labels=_labels(),
        ),
    )


def healths() -> st.SearchStrategy[Health]:
    """Health of instances."""
    status = st.sampled_from(get_args(HealthStatus))
    return st.builds(Health, status, detail=texts(), latency=_SECONDS, data=json_objects())


def verdicts() -> st.SearchStrategy[Verdict]:
    """Votes."""
    return st.builds(Verdict, st.booleans(), reason=texts())


def policies() -> st.SearchStrategy[Policy]:
    """Policies."""
    words = st.lists(names(), max_size=2)
    return st.builds(
        Policy,
        st.sampled_from(SecurityLevel),
        requires=words,
        readable=words,
        writable=words,
        hosts=words,
        wall_seconds=_SECONDS,
        memory_mb=_SECONDS,
        processes=_SECONDS,
    )

"""The vendors' SDKs on error answers: each is asked as its maker means it to be, and watched."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import anthropic
import httpx
import ollama
import openai
from gleitzeit_plugin_anthropic import Anthropic
from gleitzeit_plugin_gemini import Gemini
from gleitzeit_plugin_ollama import Ollama
from gleitzeit_plugin_openai import OpenAI
from google import genai
from google.genai import types

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat
from tests.replay.decisions import Decision, Deviation, decided, hinted, sleeping
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction

__all__ = ["DECIDERS", "Decider"]

URL: Final = "http://127.0.0.1:9"
_ASKED: Final[Any] = [{"role": "user", "content": "hi"}]


class Decider(ABC):
    """A provider and an SDK that may ask once more, over one transport."""

    name: ClassVar[str]
    oracle: ClassVar[str]
    #: Values of `provider` in the index of the recordings.
    providers: ClassVar[tuple[str, ...]]
    #: Bodies by status, or by status and name; "" for any other status.
    bodies: ClassVar[Mapping[str, Any]]
    deviations: ClassVar[tuple[Deviation, ...]] = ()
    #: Families of the SDK's exceptions, by their names; what is missing tells nothing.
    families: ClassVar[Mapping[str, str]] = {}

    #: The answer that was loaded last.
    loaded: Interaction

    def __init__(self, play: Playback) -> None:
        self.play = play
        self.provider, self.sdk = self.plugin(), self.client()

    def load(self, interaction: Interaction) -> None:
        """Answer with this from now on."""
        self.loaded = interaction
        self.play.load(interaction)

    @abstractmethod
    def plugin(self) -> Any:
        """Ours."""

    @abstractmethod
    def client(self) -> Any:
        """The SDK, which may ask twice."""

    @abstractmethod
    async def ask(self) -> object:
        """Ask by the SDK."""

    async def ours(self, interaction: Interaction) -> Decision:
        """What our error says; ours never asks twice by itself."""
        self.load(interaction)
        found: GleitzeitError | None = None
        try:
            await self.provider.call(Chat("hi").to("m"))
        except GleitzeitError as error:
            found = error
        assert found is not None, f"{interaction.name} is an answer to us"
        assert len(self.play.requests) == 1, "a provider asks once"
        assert (found.status, found.sent) == (interaction.status, True)
        return decided(found)

    async def theirs(self, interaction: Interaction) -> Decision:
        """What the SDK does."""
        self.load(interaction)
        with sleeping() as wanted:
            try:
                await self.ask()
            except Exception as error:
                family = self.families.get(type(error).__name__)
                return Decision(family=family, retry=len(self.play.requests) > 1, wait=hinted(wanted))
        raise AssertionError(f"{interaction.name} is an answer to the SDK")


def _said(*words: str) -> Any:
    return lambda interaction, *_: any(word.encode() in interaction.body for word in words)


def _quiet(interaction: Interaction, *_: object) -> bool:
    return not interaction.headers.keys() & {"retry-after", "retry-after-ms"}


_PAID: Final = Deviation(
    "a quota or an unpaid bill",
    reason="asking again cannot help; the SDK asks again, as it looks at the status alone",
    holds=lambda interaction, ours, theirs: (
        not ours.retry and theirs.retry and _said("quota", "spend_limit")(interaction)
    ),
)
_NAMED: Final = Deviation(
    "overload and timeouts by their names",
    reason="503, 504 and 529 are OverloadedError and DeadlineError; the SDK has one class from 500 on",
    holds=lambda interaction, ours, theirs: (
        theirs.family == "upstream" and ours.family in ("capacity", "deadline") and ours.retry == theirs.retry
    ),
)
_EARLY: Final = Deviation(
    "425 Too Early",
    reason="the status says that the request may be repeated; the SDK gives up",
    holds=lambda interaction, ours, theirs: interaction.status == 425 and ours.retry and not theirs.retry,
)
_NOW: Final = Deviation(
    "retry-after: 0",
    reason="we ask again at once; the SDK takes its own backoff",
    holds=lambda interaction, ours, theirs: ours.retry and ours.wait == 0.0 and theirs.wait is None,
)
_WORDS: Final = Deviation(
    "a wait in the body",
    reason="we keep what the body says in fields or words; the SDK reads headers alone",
    holds=lambda interaction, ours, theirs: (
        ours.retry and theirs.retry and _quiet(interaction) and theirs.wait is None
    ),
)


class OpenAIDecider(Decider):
    """OpenAI and those who speak its API."""

    name = "openai"
    oracle = f"openai {openai.__version__}"
    providers = ("openai", "azure", "deepseek", "groq", "mistral", "openrouter", "huggingface", "voyageai")
    bodies: ClassVar = {
        "": {"error": {"message": "no", "type": None, "param": None, "code": None}},
        "401": {"error": {"message": "no", "type": "invalid_request_error", "code": "invalid_api_key"}},
        "429 a quota": {"error": {"message": "pay", "code": "insufficient_quota"}},
        "429 of Azure": {"error": {"code": "429", "message": "Try again in 26 seconds."}},
        "429 of HTML": b"<html>slow down</html>",
        "400 a call that the model wrote badly": {"error": {"message": "x", "code": "tool_use_failed"}},
        "500 empty": b"",
    }
    families: ClassVar = {
        "BadRequestError": "request",
        "NotFoundError": "request",
        "UnprocessableEntityError": "request",
        "AuthenticationError": "access",
        "PermissionDeniedError": "access",
        "RateLimitError": "capacity",
        "ConflictError": "upstream",
        "InternalServerError": "upstream",
    }
    deviations = (
        _PAID,
        _EARLY,
        _NOW,
        _WORDS,
        Deviation(
            "a wait of more than two minutes",
            reason="the SDK gives up at once; our error says that it will pass and when, and the host "
            "gives up where that is after the deadline",
            holds=lambda _, ours, theirs: ours.retry and not theirs.retry and (ours.wait or 0) > 120,
        ),
        Deviation(
            "a call that the model wrote badly",
            reason="`tool_use_failed` is the model's slip, and may go well the next time; the SDK sees a 400",
            holds=lambda interaction, ours, theirs: ours.retry and _said("tool_use_failed")(interaction),
        ),
        _NAMED,
    )

    def plugin(self) -> Any:
        """Ours."""
        return OpenAI(OpenAI.Config(base_url=f"{URL}/v1"), FakeContext("p", self.play.client))

    def client(self) -> Any:
        """The SDK."""
        more: Any = {"http_client": self.play.client, "max_retries": 1}
        return openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="x", **more)

    async def ask(self) -> object:
        """A chat."""
        return await self.sdk.chat.completions.create(model="m", messages=_ASKED)


class AnthropicDecider(Decider):
    """Anthropic."""

    name = "anthropic"
    oracle = f"anthropic {anthropic.__version__}"
    providers = ("anthropic",)
    bodies: ClassVar = {
        "": {"type": "error", "error": {"type": "x", "message": "no"}},
        "529": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "429 a spend limit": {
            "type": "error",
            "error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
        },
        "429 a ramp": {
            "type": "error",
            "error": {"type": "rate_limit_error", "details": {"error_code": "ramp_limit_exceeded"}},
        },
    }
    families: ClassVar = {
        **OpenAIDecider.families,
        "RequestTooLargeError": "request",
        "OverloadedError": "capacity",
        "ServiceUnavailableError": "capacity",
        "DeadlineExceededError": "deadline",
    }
    deviations = (_PAID, _EARLY, _NOW)

    def plugin(self) -> Any:
        """Ours."""
        return Anthropic(Anthropic.Config(base_url=URL, api_key="x"), FakeContext("p", self.play.client))

    def client(self) -> Any:
        """The SDK."""
        return anthropic.AsyncAnthropic(
            base_url=URL, api_key="x", max_retries=1, http_client=self.play.client
        )

    async def ask(self) -> object:
        """A message."""
        return await self.sdk.messages.create(model="m", messages=_ASKED, max_tokens=64)


class GeminiDecider(Decider):
    """Gemini, by the Gemini API and by Vertex AI. Its SDK asks again where that is switched on."""

    name = "gemini"
    oracle = f"google-genai {genai.__version__}"
    providers = ("gemini", "vertex")
    bodies: ClassVar = {
        "": {"error": {"code": 500, "message": "no", "status": "X"}},
        "429": {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}},
        "429 with RetryInfo": {
            "error": {
                "code": 429,
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}],
            }
        },
        "429 a quota of the day": {
            "error": {
                "code": 429,
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"violations": [{"quotaId": "RequestsPerDay"}]}],
            }
        },
    }
    deviations = (
        _PAID,
        _EARLY,
        Deviation(
            "headers",
            reason="`retry-after` and `x-should-retry` hold for us; this SDK looks at no header",
            holds=lambda interaction, ours, theirs: bool(interaction.headers) and theirs.wait is None,
        ),
        _WORDS,
        Deviation(
            "statuses that the SDK does not repeat",
            reason="409, 501 and 529 are asked again as the other vendors' SDKs do",
            holds=lambda interaction, ours, theirs: interaction.status in (409, 501, 529) and ours.retry,
        ),
    )

    def plugin(self) -> Any:
        """Ours."""
        return Gemini(Gemini.Config(base_url=URL, api_key="x"), FakeContext("p", self.play.client))

    def client(self) -> Any:
        """The SDK."""
        again = types.HttpRetryOptions(attempts=2, max_delay=2, jitter=0)
        options = types.HttpOptions(base_url=URL, httpx_async_client=self.play.client, retry_options=again)
        return genai.Client(api_key="x", http_options=options)

    async def ask(self) -> object:
        """Content."""
        return await self.sdk.aio.models.generate_content(model="m", contents="hi")


class OllamaDecider(Decider):
    """Ollama. Its client never asks again."""

    name = "ollama"
    oracle = "ollama 0.6"
    providers = ()
    bodies: ClassVar = {"": {"error": "no"}, "404": {"error": "model 'm' not found"}}
    deviations = (
        Deviation(
            "all that may pass",
            reason="this client never asks again; we do on 408, 409, 425, 429 and from 500 on",
            holds=lambda interaction, ours, theirs: (
                not theirs.retry and (interaction.status in (408, 409, 425, 429) or interaction.status >= 500)
            ),
        ),
        Deviation(
            "x-should-retry",
            reason="it holds whatever sent it, such as a gateway in between",
            holds=lambda interaction, ours, theirs: ours.retry and "x-should-retry" in interaction.headers,
        ),
    )

    def plugin(self) -> Any:
        """Ours."""
        return Ollama(Ollama.Config(base_url=URL, pull="never"), FakeContext("p", self.play.client))

    def client(self) -> Any:
        """The SDK, whose HTTP client is another."""
        return ollama.AsyncClient(host=URL, transport=httpx.MockTransport(self._answer))

    async def ask(self) -> object:
        """A chat."""
        return await self.sdk.chat(model="m", messages=_ASKED)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """The loaded answer; this client has an HTTP client of its own."""
        self.play.requests.append(json.loads(request.content))
        loaded = self.loaded
        return httpx.Response(loaded.status, headers=dict(loaded.headers), content=loaded.body)


DECIDERS: Final = (OpenAIDecider, AnthropicDecider, GeminiDecider, OllamaDecider)

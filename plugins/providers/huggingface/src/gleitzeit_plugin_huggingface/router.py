"""The hosted router: models of many vendors behind one address, in the shape of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from gleitzeit_plugin_openai import OpenAI, OpenAIConfig
from gleitzeit_plugin_openai.listing import read_models
from pydantic import Field

from gleitzeit.errors import AuthenticationError, GleitzeitError, UnknownModelError
from gleitzeit.values import Embedding, Model, Reply, Request

__all__ = ["HuggingFaceRouter", "RouterConfig"]

HOST: Final = "router.huggingface.co"


class RouterConfig(OpenAIConfig):
    """Who answers, and who pays."""

    base_url: Annotated[str, Field(description="Address of the router, or of one vendor behind it.")] = (
        f"https://{HOST}/v1"
    )
    provider: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9-]*$",
            description="Vendor to ask, or fastest or cheapest; a name with : in it says its own.",
        ),
    ] = None
    bill_to: Annotated[str | None, Field(description="Organization that pays, sent as X-HF-Bill-To.")] = None
    thinking: Annotated[
        Literal["fields", "tags", "open"],
        Field(
            description="How thinking arrives beside its fields: not at all, in <think> tags, or open ones."
        ),
    ] = "tags"


class HuggingFaceRouter(OpenAI):
    """Chats of the models that Hugging Face's router reaches."""

    Config: ClassVar[Any] = RouterConfig
    config: RouterConfig
    offers: ClassVar[str] = "chat or completion"
    key_variable: ClassVar[str | None] = "HF_TOKEN"
    manifest: ClassVar[Mapping[str, Any]] = {
        "capabilities": ("chat", "completion", "streaming", "thinking", "tools", "vision"),
        "secrets": {"api_key": "HF_TOKEN"},
    }

    async def provide_models(self) -> list[Model]:
        """The models that the router lists, with what the vendors behind it say of them."""
        return [self._described(model) for model in await self.listed(self.url("/models"), read_models)]

    async def embedding(self, request: Request, embedding: Embedding) -> Reply:
        """Refused: the router has chats only."""
        raise self.unsupported(embedding.kind)

    def wire_model(self, name: str) -> str:
        """The model, with the configured vendor behind it unless its name says one."""
        return name if self.config.provider is None or ":" in name else f"{name}:{self.config.provider}"

    def own_headers(self) -> dict[str, str]:
        """Who pays."""
        return {"X-HF-Bill-To": self.config.bill_to} if self.config.bill_to is not None else {}

    def credential(self) -> dict[str, str]:
        """The token; the router itself answers nobody without one."""
        own = super().credential()
        if (
            not own
            and self.config.host == HOST
            and "authorization" not in map(str.lower, self.config.headers)
        ):
            raise AuthenticationError(
                f"{self.context.name}: there is no token for {HOST}",
                hint=self.key_hint(),
                provider=self.context.name,
                sent=False,
            )
        return own

    def hints(self) -> dict[type[GleitzeitError], str]:
        """As of OpenAI; an unknown model may only lack a vendor."""
        return {
            **super().hints(),
            UnknownModelError: "does one of the vendors that your account has enabled serve it?",
        }

    def _described(self, model: Model) -> Model:
        """A model with the smallest window of the vendors that may answer, and what each of them can."""
        rows = [row for row in _rows(model.metadata.get("providers")) if row.get("status") in (None, "live")]
        if any(row.get("provider") == self.config.provider for row in rows):
            rows = [row for row in rows if row.get("provider") == self.config.provider]
        windows = [size for row in rows if type(size := row.get("context_length")) is int and size > 0]
        capabilities = {"streaming"}
        if rows and all(row.get("supports_tools") is True for row in rows):
            capabilities.add("tools")
        about = model.metadata.get("architecture")
        if isinstance(about, Mapping) and "image" in (about.get("input_modalities") or ()):
            capabilities.add("vision")
        return Model(
            model.name,
            operations={"chat", "completion"},
            capabilities=capabilities,
            context_tokens=min(windows, default=model.context_tokens),
            metadata=model.metadata,
        )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []

"""Azure's copy of the API: other addresses, other credentials, deployments in place of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote

import httpx2
from pydantic import Field, SecretStr, model_validator

from gleitzeit.errors import ConfigError, GleitzeitError, UnknownModelError
from gleitzeit.values import Health, Model
from gleitzeit.wire.connection import revealed
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.provider import OpenAI

__all__ = ["AzureConfig", "AzureOpenAI"]

#: Paths that the API with dates in its addresses has under each deployment.
_DEPLOYED: Final = frozenset({"/chat/completions", "/completions", "/embeddings"})


class AzureConfig(OpenAIConfig):
    """Which resource answers, and by which version of the API."""

    base_url: Annotated[
        str, Field(description="Address of the API; made of `resource` or `endpoint` where it is not given.")
    ] = ""
    resource: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$", description="Name of the Azure resource.")
    ] = None
    endpoint: Annotated[
        str | None, Field(description="Address of the resource, as https://NAME.openai.azure.com.")
    ] = None
    api_version: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9.-]+$",
            description="Date of the older API with deployments in its addresses; unset: the v1 API.",
        ),
    ] = None
    token: Annotated[SecretStr | None, Field(description="Entra token, sent in place of the key.")] = None
    deployments: dict[str, str] = Field(
        default_factory=dict, description="Deployments by the names that models have here."
    )

    @model_validator(mode="before")
    @classmethod
    def _addressed(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("base_url"):
            return values
        resource, endpoint = values.get("resource"), values.get("endpoint")
        if resource is None and endpoint is None:
            return values  # an instance that nobody has configured is refused when it is called
        if resource is not None and endpoint is not None:
            raise ValueError("give resource or endpoint, not both")
        root = str(endpoint).rstrip("/") if endpoint is not None else f"https://{resource}.openai.azure.com"
        root = root.removesuffix("/openai/v1").removesuffix("/openai")
        return {**values, "base_url": f"{root}/openai{'' if values.get('api_version') else '/v1'}"}

    @property
    def official(self) -> bool:
        """True: it follows the published API to the letter."""
        return True


class AzureOpenAI(OpenAI):
    """Chat, responses, completions and embeddings of Azure OpenAI; models are deployments."""

    Config: ClassVar[Any] = AzureConfig
    config: AzureConfig
    key_variable: ClassVar[str | None] = "AZURE_OPENAI_API_KEY"
    manifest: ClassVar[Mapping[str, Any]] = {
        "capabilities": ("chat", "completion", "embedding", "streaming", "tools", "vision"),
        "secrets": {"api_key": "AZURE_OPENAI_API_KEY"},
    }

    async def health(self, deep: bool = False) -> Health:
        """As of OpenAI; without an address it is an error."""
        if not self.config.base_url:
            return Health("error", detail="there is no `resource` and no `endpoint`")
        return await super().health(deep)

    async def provide_models(self) -> list[Model]:
        """The configured deployments; without any, the models that the resource lists.

        That list tells what could be deployed: the API knows no list of deployments.
        """
        if self.config.deployments:
            return [
                Model(name, metadata={"deployment": deployment})
                for name, deployment in self.config.deployments.items()
            ]
        return await super().provide_models()

    def wire_model(self, name: str) -> str:
        """The deployment of a model."""
        return self.config.deployments.get(name, name)

    def url(self, path: str, model: str | None = None) -> httpx2.URL:
        """The address of a path; `model` is what the request there is about."""
        if not self.config.base_url:
            raise ConfigError(
                f"{self.context.name}: there is no address of an Azure resource",
                hint=f"set `resource` or `endpoint` in [providers.{self.context.name}]",
            )
        version = self.config.api_version
        if version is None:
            return super().url(path, model)
        place = f"/deployments/{quote(model, safe='')}" if model is not None and path in _DEPLOYED else ""
        return super().url(f"{place}{path}?api-version={version}")

    def credential(self) -> dict[str, str]:
        """The token, else the key in Azure's own header."""
        if token := revealed(self.config.token):
            return {"Authorization": f"Bearer {token}"}
        key = revealed(self.config.api_key)
        return {"api-key": key} if key else {}

    def hints(self) -> dict[type[GleitzeitError], str]:
        """As of OpenAI; an unknown model is a deployment that is not there."""
        missing = "a model is named by its deployment: is it deployed in this resource, under this name?"
        return {**super().hints(), UnknownModelError: missing}

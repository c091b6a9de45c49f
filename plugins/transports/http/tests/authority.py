"""A tiny authorization server, and an MCP endpoint that wants its tokens."""

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode

from gleitzeit.testing.loopback import Call, LoopbackServer
from plugins.transports.http.tests.script import answer, say

CLIENT, SECRET = "client-1", "client-secret-4711"


class Guarded(LoopbackServer):
    """Both in one place: `/mcp` wants a live token with `scope`; `tokens` are those that live."""

    def __init__(self, *, scope: str = "read") -> None:
        super().__init__(self._respond)
        self.scope = scope
        #: Access tokens with their scopes, and those that refresh them.
        self.tokens: dict[str, str] = {}
        self.refreshing: dict[str, str] = {}
        #: Forms that came to the token endpoint.
        self.forms: list[dict[str, str]] = []
        #: Metadata of clients that registered themselves.
        self.registered: list[dict[str, Any]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.lifetime = 3600
        #: Documents and messages that a fault may replace, by path.
        self.instead: dict[str, Any] = {}

    @property
    def mcp(self) -> str:
        return f"{self.address}/mcp"

    def count(self, path: str) -> int:
        return sum(call.path == path for call in self.requests)

    async def _respond(self, call: Call) -> None:
        if call.path in self.instead:
            await self.instead[call.path](call)
        elif call.path == "/mcp":
            await self._mcp(call)
        elif call.path == "/.well-known/oauth-protected-resource/mcp":
            await say(call, {"resource": self.mcp, "authorization_servers": [self.address]})
        elif call.path == "/.well-known/oauth-authorization-server":
            await say(call, self._metadata())
        elif call.path == "/register":
            self.registered.append(call.json)
            await say(call, {**call.json, "client_id": f"registered-{len(self.registered)}"}, 201)
        elif call.path == "/authorize":
            await self._authorize(call)
        elif call.path == "/token":
            await self._token(call)
        else:
            await call.send(404, {}, b"")

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "registration_endpoint": f"{self.address}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        }

    async def _mcp(self, call: Call) -> None:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        where = f'resource_metadata="{self.address}/.well-known/oauth-protected-resource/mcp"'
        if token not in self.tokens:
            await call.send(401, {"www-authenticate": f"Bearer {where}"}, b"")
        elif self.scope not in self.tokens[token].split():
            wanted = f'Bearer error="insufficient_scope", scope="{self.scope}", {where}'
            await call.send(403, {"www-authenticate": wanted}, b"")
        else:
            await answer(call)

    async def _authorize(self, call: Call) -> None:
        """A person who agrees at once."""
        asked = {key: values[0] for key, values in parse_qs(call.query).items()}
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": self.address})
        await call.send(302, {"location": f"{asked['redirect_uri']}?{back}"}, b"")

    async def _token(self, call: Call) -> None:
        form = {key: values[0] for key, values in parse_qs(call.body.decode()).items()}
        self.forms.append(form)
        scope = form.get("scope", "read")
        if form["grant_type"] == "client_credentials" and not self._knows(call, form):
            await say(call, {"error": "invalid_client"}, 401)
            return
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            if asked is None or asked["code_challenge"] != challenge.decode().rstrip("="):
                await say(call, {"error": "invalid_grant"}, 400)
                return
            scope = asked.get("scope", "read")
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refreshing:
                await say(call, {"error": "invalid_grant"}, 400)
                return
            scope = self.refreshing.pop(form["refresh_token"])
        token, again = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.tokens[token] = scope
        given = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime, "scope": scope}
        if form["grant_type"] != "client_credentials":
            self.refreshing[again] = scope
            given["refresh_token"] = again
        await say(call, given)

    def _knows(self, call: Call, form: dict[str, str]) -> bool:
        if "client_assertion" in form:
            claims = form["client_assertion"].split(".")[1]
            told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            return bool(told["iss"] == CLIENT and told["aud"].rstrip("/") == self.address)
        basic = call.headers.get("authorization", "").removeprefix("Basic ")
        given = base64.b64decode(basic).decode() if basic else ""
        return given == f"{CLIENT}:{SECRET}" or (form.get("client_id"), form.get("client_secret")) == (
            CLIENT,
            SECRET,
        )

"""Every error of Gleitzeit stands under one base and says what went wrong, where, and the next step.

GleitzeitError
├── UsageError                    the host was used wrongly (closed, wrong thread)
├── ConfigError                   configuration does not hold; lists every problem at once
├── PluginError                   a plugin is not usable
│   ├── PluginNotFoundError
│   ├── PluginLoadError           import, construction, registration or lifespan failed
│   ├── PluginIncompatibleError   written for another API version
│   └── AmbiguousPluginError      two distributions claim one name
├── RequestError                  the request itself cannot be served
│   ├── InvalidRequestError
│   ├── UnknownModelError         no model, tool, resource or prompt of that name
│   ├── AmbiguousModelError       several claims, none stronger
│   ├── TooLongError              the context or a size limit is exceeded
│   ├── UnsupportedError          the target cannot do what is asked
│   └── ContentRefusedError       the vendor's content filter refused
├── AccessError
│   ├── AuthenticationError
│   ├── PermissionDeniedError
│   ├── SecurityDeniedError       a security vote said no
│   └── SandboxUnavailableError   a required protection cannot be proven here
├── CapacityError
│   ├── RateLimitedError
│   ├── QuotaExhaustedError       permanent until somebody pays
│   ├── OverloadedError
│   ├── BreakerOpenError
│   └── QueueFullError
├── UpstreamError
│   ├── ServerFaultError
│   ├── MalformedAnswerError
│   ├── TruncatedStreamError      the input ended before its protocol's terminal mark
│   └── ToolFailedError
├── WireError
│   ├── CannotConnectError
│   ├── ResetError                the connection broke after it stood
│   └── ProcessDiedError
└── DeadlineError                 the time of the call, or of one phase of it, is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from gleitzeit.values.limits import RateLimits

__all__ = [
    "AccessError",
    "AmbiguousModelError",
    "AmbiguousPluginError",
    "AuthenticationError",
    "BreakerOpenError",
    "CannotConnectError",
    "CapacityError",
    "ConfigError",
    "ContentRefusedError",
    "DeadlineError",
    "GleitzeitError",
    "InvalidRequestError",
    "MalformedAnswerError",
    "OverloadedError",
    "PermissionDeniedError",
    "PluginError",
    "PluginIncompatibleError",
    "PluginLoadError",
    "PluginNotFoundError",
    "ProcessDiedError",
    "QueueFullError",
    "QuotaExhaustedError",
    "RateLimitedError",
    "RequestError",
    "ResetError",
    "SandboxUnavailableError",
    "SecurityDeniedError",
    "ServerFaultError",
    "TooLongError",
    "ToolFailedError",
    "TruncatedStreamError",
    "UnknownModelError",
    "UnsupportedError",
    "UpstreamError",
    "UsageError",
    "WireError",
]

BODY_LIMIT: Final = 4096


class GleitzeitError(Exception):
    """Something went wrong in Gleitzeit or behind it.

    `message` says what and where, `hint` the next step. `sent` is False when nothing reached the
    upstream, True when something did, None when unknown. `body` keeps at most 4 KiB of the raw
    answer and is never part of `str()` or `repr()`, as it may quote a secret or a private prompt.
    `partial` holds what a stream had delivered before it broke (a `Reply`).
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    #: The hint where nobody gives a better one.
    next_step: ClassVar[str | None] = None
    #: May the same target be asked again, if the operation allows it?
    retryable: bool = False
    #: May another target be asked instead?
    fallback: bool = False
    #: Does it speak against the target, for its circuit breaker and the balance?
    counts: bool = False
    #: What the upstream said of its rate limits with this error.
    limits: RateLimits | None = None
    #: The attempts at other targets that failed before this one (`Attempt`).
    attempts: tuple[Any, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        provider: str | None = None,
        status: int | None = None,
        vendor_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        sent: bool | None = None,
        body: str | bytes | None = None,
        partial: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.next_step
        self.provider = provider
        self.status = status
        self.vendor_code = vendor_code
        self.request_id = request_id
        self.retry_after = retry_after
        self.sent = sent
        self.body = (
            body[:BODY_LIMIT].decode("utf-8", "replace")
            if isinstance(body, bytes)
            else body and body[:BODY_LIMIT]
        )
        self.partial = partial
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __repr__(self) -> str:
        extra = "".join(
            f", {name}={value!r}"
            for name in ("provider", "status", "vendor_code", "retry_after")
            if (value := getattr(self, name)) is not None
        )
        return f"{type(self).__name__}({self.message!r}{extra})"

    def to_dict(self) -> dict[str, Any]:
        """What a machine needs of this error, without the raw body."""
        fields = ("provider", "status", "vendor_code", "request_id", "retry_after", "hint")
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            **{name: value for name in fields if (value := getattr(self, name)) is not None},
        }


class UsageError(GleitzeitError):
    """The host was used in a way that cannot work."""

    code = "usage"
    exit_code = 2


class ConfigError(GleitzeitError):
    """The configuration does not hold; `problems` lists every fault found, one line each."""

    code = "config"
    exit_code = 3

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__("\n  ".join([message, *problems]), hint=hint)
        self.problems = problems


class PluginError(GleitzeitError):
    """A plugin is not usable."""

    code = "plugin"
    exit_code = 4
    fallback = True
    counts = True


class PluginNotFoundError(PluginError):
    """No installed distribution offers this plugin."""

    code = "plugin_not_found"


class PluginLoadError(PluginError):
    """A plugin failed at import, construction, registration or start."""

    code = "plugin_load"


class PluginIncompatibleError(PluginError):
    """A plugin was written for another version of the plugin API."""

    code = "plugin_incompatible"


class AmbiguousPluginError(PluginError):
    """Two distributions claim one plugin name."""

    code = "plugin_ambiguous"


class RequestError(GleitzeitError):
    """The request itself cannot be served."""

    code = "request"
    exit_code = 5


class InvalidRequestError(RequestError):
    """The request breaks a rule of its target."""

    code = "invalid_request"
    next_step = "see what the target accepts"


class UnknownModelError(RequestError):
    """Nothing answers to this name; `near` holds similar names."""

    code = "unknown_model"
    next_step = "see `gleitzeit models --live`"
    fallback = True

    def __init__(self, message: str, *, near: tuple[str, ...] = (), **details: Any) -> None:
        if near and details.get("hint") is None:
            details["hint"] = "did you mean " + " or ".join(near) + "?"
        super().__init__(message, **details)
        self.near = near


class AmbiguousModelError(RequestError):
    """Several targets claim this name with equal right; `claims` names them."""

    code = "ambiguous_model"

    def __init__(self, message: str, *, claims: tuple[str, ...] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.claims = claims


class TooLongError(RequestError):
    """The context window or a size limit is exceeded."""

    code = "too_long"
    next_step = "shorten the request, or take a target with a larger context"


class UnsupportedError(RequestError):
    """The target cannot do what is asked."""

    code = "unsupported"
    fallback = True


class ContentRefusedError(RequestError):
    """The vendor's content filter refused the request."""

    code = "content_refused"
    next_step = "change the request, or take another target"


class AccessError(GleitzeitError):
    """Access is denied."""

    code = "access"
    exit_code = 6


class AuthenticationError(AccessError):
    """The credential is missing or wrong."""

    code = "authentication"
    next_step = "set or renew the key in the configuration"
    fallback = True


class PermissionDeniedError(AccessError):
    """The credential does not reach this far."""

    code = "permission"
    next_step = "see what the key may do at the vendor"
    fallback = True


class SecurityDeniedError(AccessError):
    """A security vote, or the absence of a required one, denied the call; `votes` says why."""

    code = "security_denied"

    def __init__(self, message: str, *, votes: tuple[str, ...] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.votes = votes


class SandboxUnavailableError(AccessError):
    """A protection that the policy requires cannot be proven on this machine."""

    code = "sandbox_unavailable"


class CapacityError(GleitzeitError):
    """There is no room for the call now."""

    code = "capacity"
    exit_code = 7
    fallback = True


class RateLimitedError(CapacityError):
    """Too many requests or tokens in a while."""

    code = "rate_limited"
    next_step = "ask again later, or name a fallback target in a route"
    retryable = True


class QuotaExhaustedError(CapacityError):
    """The account's quota or budget is used up."""

    code = "quota_exhausted"
    next_step = "see the account at the vendor, or name a fallback target in a route"


class OverloadedError(CapacityError):
    """The upstream has no capacity left."""

    code = "overloaded"
    next_step = "ask again later, or name a fallback target in a route"
    retryable = True
    counts = True


class BreakerOpenError(CapacityError):
    """The circuit breaker of the target is open."""

    code = "breaker_open"


class QueueFullError(CapacityError):
    """The queue before the target is full."""

    code = "queue_full"


class UpstreamError(GleitzeitError):
    """The upstream answered, but wrongly."""

    code = "upstream"
    exit_code = 8
    fallback = True
    counts = True


class ServerFaultError(UpstreamError):
    """The upstream failed on its side."""

    code = "server_fault"
    next_step = "ask again, or name a fallback target in a route"
    retryable = True


class MalformedAnswerError(UpstreamError):
    """The answer breaks its protocol."""

    code = "malformed_answer"
    next_step = "see whether the target speaks the protocol that its plugin expects"
    retryable = True


class TruncatedStreamError(UpstreamError):
    """The stream ended before its protocol's terminal mark."""

    code = "truncated_stream"
    next_step = "the answer is incomplete; ask again"
    retryable = True


class ToolFailedError(UpstreamError):
    """A tool could not be run."""

    code = "tool_failed"
    fallback = False
    counts = False


class WireError(GleitzeitError):
    """The connection or process to the upstream failed."""

    code = "wire"
    exit_code = 9
    retryable = True
    fallback = True
    counts = True


class CannotConnectError(WireError):
    """No connection came to stand; nothing was sent."""

    code = "cannot_connect"
    next_step = "see whether the upstream runs and the address is right"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, **{"sent": False, **details})


class ResetError(WireError):
    """The connection broke after it stood."""

    code = "reset"
    next_step = "see whether the upstream still runs, then ask again"


class ProcessDiedError(WireError):
    """The process behind the target ended; the hint or message carries the tail of its stderr."""

    code = "process_died"


class DeadlineError(GleitzeitError):
    """The time of the call, or of one phase of it, is over."""

    code = "deadline"
    exit_code = 10
    fallback = True
    counts = True

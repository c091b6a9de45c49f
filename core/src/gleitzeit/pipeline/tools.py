"""What stands around calls of tools: nothing that is kept back is reached, and failures lead on."""

from __future__ import annotations

from collections.abc import Mapping

from gleitzeit.errors import ToolFailedError
from gleitzeit.kinds import Handler
from gleitzeit.routing import denial
from gleitzeit.shaping import Kept
from gleitzeit.values import Invoke, Reply, Request, Stream, Target

__all__ = ["leading_on", "refusing"]


def refusing(handler: Handler, target: Target, denied: Mapping[str, Kept]) -> Handler:
    """Methods that would reach one of these tools by its name are refused, also those of a protocol."""

    async def refuse(request: Request) -> Reply | Stream:
        operation = request.operation
        if isinstance(operation, Invoke):
            named = operation.method
            if "/" in named and named not in denied:  # such as `tools/call`
                named = str(operation.arguments.get("name", ""))
            kept = denied.get(named)
            if kept is not None:
                raise denial(f"{target.instance}/{named}", kept)
        return await handler(request)

    return refuse


def leading_on(handler: Handler, target: Target) -> Handler:
    """A failure that the tool reports itself is raised, so that the tool behind it is asked."""

    async def lead_on(request: Request) -> Reply | Stream:
        answer = await handler(request)
        if isinstance(answer, Stream):
            answer = await answer.collect()
        if answer.is_error:
            error = ToolFailedError(
                f"{target} reports a failure",
                provider=target.instance,
                sent=True,
                body=answer.text,
                partial=answer,
            )
            error.fallback = True
            raise error
        return answer

    return lead_on

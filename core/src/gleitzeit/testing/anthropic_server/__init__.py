"""An Anthropic-shaped server on the loopback address that answers from a queue, or else echoes.

It says in its answers that it is a scripted fake, and refuses requests that Anthropic would refuse:

    async with AnthropicServer() as server:
        server.answers.append(Answer("hello", fault="reset", after=2))
        ...                                   # point a client at server.url
        call = await server.request()         # what arrived: call.json, call.headers, call.path
        await call.closed.wait()              # the client went before the answer was complete
"""

from gleitzeit.testing.anthropic_server.check import problem
from gleitzeit.testing.anthropic_server.server import AnthropicServer
from gleitzeit.testing.anthropic_server.shapes import Answer

__all__ = ["Answer", "AnthropicServer", "problem"]

"""A Gemini-shaped server on the loopback address that answers from a queue, by model, or else echoes.

It says in its answers that it is a scripted fake, and refuses requests that Gemini would refuse:

    async with GeminiServer(api_key="k") as server:
        server.answers.append(Answer("hello", fault="reset", after=2))
        server.models["gemini-slow"] = Answer("…", fault="stall")
        ...                                   # point a client at server.url; the version is in the path
        call = await server.request()         # what arrived: call.json, call.headers, call.path
        await call.closed.wait()              # the client went before the answer was complete

Paths of Vertex AI are served too.
"""

from gleitzeit.testing.gemini_server.check import problem
from gleitzeit.testing.gemini_server.server import GeminiServer
from gleitzeit.testing.gemini_server.shapes import Answer

__all__ = ["Answer", "GeminiServer", "problem"]

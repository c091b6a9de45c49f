"""An OpenAI-shaped server on the loopback address that answers from a script.

It says in its models' names and answers that it is a scripted fake, and refuses requests that
OpenAI would refuse. In a process of its own:

    python -m gleitzeit.testing.openai_server --port 0 --script builtin

prints one line of JSON, `{"url": "http://127.0.0.1:PORT/v1", "models": […]}`, and serves until it
is terminated, or the pipe on its standard input closes. In a test:

    async with OpenAIServer() as server:
        server.answers.append(Answer("hello", fault="reset", after=2))
        ...                                   # point a client at server.url
        call = await server.request()         # what arrived: call.json, call.headers, call.path
        await call.closed.wait()              # the client went before the answer was complete
"""

from gleitzeit.testing.openai_server.script import BUILTIN, Answer, Rule, Script
from gleitzeit.testing.openai_server.server import OpenAIServer

__all__ = ["BUILTIN", "Answer", "OpenAIServer", "Rule", "Script"]

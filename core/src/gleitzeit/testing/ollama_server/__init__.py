"""A server on the loopback address that speaks Ollama's native API, answering what it is told to.

It says that it is a scripted fake, and refuses requests that Ollama would refuse. In a test:

    async with OllamaServer() as server:
        server.answers.append(Answer("hello", fault="reset", after=2))
        server.library["tiny:latest"] = 3 * 10**6       # what can be pulled, with its size in bytes
        ...                                             # point a client at server.url
        call = await server.request()                   # what arrived: call.json, call.path
"""

from gleitzeit.testing.ollama_server.server import Answer, Card, OllamaServer

__all__ = ["Answer", "Card", "OllamaServer"]

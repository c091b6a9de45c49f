"""Starts the worker: `python PATH/worker ENGINE OPTIONS`, with frames on its standard streams.

It is run by its path, so that the interpreter needs nothing of ours installed.
"""

import os
import sys
import types

PACKAGE = "gleitzeit_plugin_huggingface"


def find() -> None:
    """Make this package importable without the one around it, which needs Gleitzeit."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0] or ".") == here:
        del sys.path[0]  # our modules must not stand in for others of the same name
    package = types.ModuleType(PACKAGE)
    package.__path__ = [os.path.dirname(here)]
    sys.modules[PACKAGE] = package


if __name__ == "__main__":
    find()
    from gleitzeit_plugin_huggingface.worker.server import main

    main(sys.argv[1:])

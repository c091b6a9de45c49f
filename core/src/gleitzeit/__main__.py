"""`python -m gleitzeit` is the command `gleitzeit`."""

import sys

from gleitzeit.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())

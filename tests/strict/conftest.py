"""The profile that looks for other examples: `pytest tests/strict --hypothesis-profile=search`."""

from hypothesis import settings

settings.register_profile("search", deadline=None)

"""Recorded traffic of vendors, read by us and by the vendors' own SDKs: `python noxfile.py replay`."""

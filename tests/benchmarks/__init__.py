"""Measures against the budgets, beside the bare HTTP client and a vendor's SDK: `python noxfile.py bench`."""

"""The words of the vendors, one module a wire."""

"""What we send and what our fakes say, held against the vendors' specifications and SDKs."""

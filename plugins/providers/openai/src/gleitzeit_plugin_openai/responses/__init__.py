"""The Responses API: typed items in, typed items and events out."""

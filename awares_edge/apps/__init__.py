"""Thin users of the public API: one file a command."""

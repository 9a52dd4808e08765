"""Conformance suites that every plug-in of a kind must pass, ours and other people's alike."""

__all__: list[str] = []  # each suite is a module of its own: import what you need

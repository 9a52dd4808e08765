"""Adapters to other libraries, each behind its extra: nothing here loads until it is imported by its own name."""

__all__: list[str] = []

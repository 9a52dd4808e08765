"""Checks of settings that many detectors have."""

from visutility.core.errors import InvalidSetting


def check_arl(arl: float) -> None:
    """Raise `InvalidSetting` unless the mean run length is above 1 and at most 1e100."""
    if not 1.0 < arl <= 1e100:
        raise InvalidSetting(f"arl {arl!r} is not in (1, 1e100]", hint="give the mean run length in values")


def check_warning(warning: float) -> None:
    """Raise `InvalidSetting` unless a warning comes at a share of `arl`."""
    if not 0.0 < warning <= 1.0:
        raise InvalidSetting(f"warning {warning!r} is not in (0, 1]", hint="a share of arl; 1 for none")

"""Files that a command was asked to write: refused before its work starts, and written whole or not at all."""

import errno
import os
import secrets
from pathlib import Path

from visutility.core.errors import DiskFull, Invalid


def checked(option: str, path: Path) -> Path:
    """Return a path that can be written now. Raises `Invalid` for one that cannot; nothing is left behind."""
    hint = f"choose a file in a folder you may write to with {option} FILE"
    if not path.parent.is_dir():
        raise Invalid(f"{option} {path}: there is no folder {path.parent}", hint=hint)
    if path.exists() and not path.is_file():
        raise Invalid(f"{option} {path} is there and is not a file", hint=hint)
    probe = _part(path)
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise Invalid(f"{option} {path} cannot be written: {os.strerror(error.errno or 0)}", hint=hint) from None
    return path


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, text as UTF-8. Raises `DiskFull`, or `Invalid` for a place that went away."""
    part = _part(path)
    try:
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space for {path}", hint="free some space; nothing was half-written") from None
        raise Invalid(
            f"{path} cannot be written: {os.strerror(error.errno or 0)}", hint="choose a folder you may write to"
        ) from None


def _part(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.part")

"""Messages between an executor and one of its workers: a kind, a length, and that many bytes."""

import signal
import socket
import struct
from collections import deque
from typing import Final, final

HEAD: Final = struct.Struct(">cQ")
REPORT: Final = struct.Struct(">qd")
MAX_BYTES: Final = 1 << 30  # of one message; keeps a giant result from taking its reader down

CALL, ARGUMENTS = b"C", b"A"  # to a worker: pickled (path, target, memory), then pickled (args, kwargs)
STARTED, REPORTED, VALUE, ERROR, RAISED, MEMORY, QUIT = b"S", b"R", b"V", b"X", b"E", b"M", b"D"  # from a worker
WHERE: Final = signal.SIGXCPU  # to a worker past its deadline: print the stack

_CHUNK = 1 << 20
_TURN = 1 << 24  # bytes read from one worker before the others get their turn


def send(sock: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Write one message to a blocking socket."""
    sock.sendall(HEAD.pack(kind, len(payload)))
    sock.sendall(payload)


def receive(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Read one message from a blocking socket; None when the other end closed it."""
    head = _exactly(sock, HEAD.size)
    if head is None:
        return None
    kind, size = HEAD.unpack(head)
    payload = _exactly(sock, size)
    return None if payload is None else (kind, payload)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    got = bytearray()
    while len(got) < size:
        chunk = sock.recv(min(size - len(got), _CHUNK))
        if not chunk:
            return None
        got += chunk
    return bytes(got)


@final
class Channel:
    """The executor's end: never blocks, so that a worker stopped in the middle of a message holds up nobody."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.open = True
        self.drained = True  # nothing was left to read at the last `receive`
        self._in = bytearray()
        self._out: deque[memoryview] = deque()

    @property
    def unsent(self) -> bool:
        """Whether `flush` has more to write."""
        return bool(self._out)

    def send(self, kind: bytes, payload: bytes) -> None:
        """Queue one message, and write what the socket takes."""
        self._out += (memoryview(HEAD.pack(kind, len(payload))), memoryview(payload))
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes."""
        while self._out:
            try:
                sent = self.sock.send(self._out[0])
            except BlockingIOError:
                return
            except OSError:  # the worker is gone: its end is noticed by who reads
                self._out.clear()
                return
            rest = self._out.popleft()[sent:]
            if rest:
                self._out.appendleft(rest)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Return the whole messages that have arrived; `open` turns False once the worker closed its end."""
        self._fill()
        found = []
        while len(self._in) >= HEAD.size:
            kind, size = HEAD.unpack_from(self._in)
            if size > MAX_BYTES:  # not one of our workers' messages
                self.open = False
                break
            end = HEAD.size + size
            if len(self._in) < end:
                break
            found.append((kind, bytes(memoryview(self._in)[HEAD.size : end])))
            del self._in[:end]
        return found

    def _fill(self) -> None:
        self.drained = False
        for _ in range(_TURN // _CHUNK):
            try:
                chunk = self.sock.recv(_CHUNK)
            except BlockingIOError:
                self.drained = True
                return
            except OSError:
                chunk = b""
            if not chunk:
                self.open, self.drained = False, True
                return
            self._in += chunk

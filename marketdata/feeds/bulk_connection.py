"""A WebSocket connection whose messages leave in bulk: all that one read of the socket brought, at once and in order.

The library gives a message at a time through a queue to a waiting task, some ten microseconds each; a busy venue sends
a hundred of them in one read. Here whole, unmasked data frames are cut out of what was read; everything else (the handshake,
control frames, fragments, what is not allowed) goes through the library's own parser, one frame at a time, so that the order
stays and the protocol is its business.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES
from websockets.http11 import Response
from websockets.protocol import State

TEXT: Final = 0x81
BINARY: Final = 0x82
"""First bytes of data frames that are whole, without extensions."""
SHORT: Final = 126
"""Lengths below this stand in the second byte; 126 and 127 announce two and eight bytes, 128 and more a mask."""

MAX_LENGTH: Final = 1 << 63

Take = Callable[[Sequence[bytes]], None]


class BulkConnection(ClientConnection):
    """A client's connection that hands its messages over itself; ``recv`` only waits for the end.

    Parameters
    ----------
    take : callable
        Gets the messages of a read, in the event loop's thread.
    """

    def __init__(self, *arguments: Any, take: Take, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._take = take
        self._rest = bytearray()
        self._needed = 0
        self._fragments: list[bytes] = []

    def hold(self) -> None:
        """Stop reading the socket."""
        self.transport.pause_reading()

    def go_on(self) -> None:
        """Read the socket again; one that is closed meanwhile stays so."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Cut messages out of what was read."""
        if self.response is None or not self._is_open():
            super().data_received(data)
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, size, messages = 0, len(data), []
        longest = self.protocol.max_message_size or MAX_LENGTH
        while True:
            start, end = _frame(data, at, size)
            if end > size:
                break
            plain = data[at] in (TEXT, BINARY) and data[at + 1] <= SHORT + 1 and end - start <= longest
            if plain and not self._fragments:
                messages.append(data[start:end])
            else:
                if messages:
                    self._take(messages)
                    messages = []
                super().data_received(data[at:end])
                if not self._is_open():
                    return
            at = end
        if messages:
            self._take(messages)
        if at < size:
            if end - start > longest:
                super().data_received(data[at:])  # refuses it by its length
                return
            self._rest += data[at:]
            self._needed = end - at

    def _is_open(self) -> bool:
        return self.protocol.state is State.OPEN

    def process_event(self, event: Any) -> None:
        """Hand over a message that the library has read."""
        if isinstance(event, Response) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            whole, self._fragments = b"".join(self._fragments), []
            self._take([whole])


def _frame(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Return where the payload of the frame at ``at`` begins and ends; an end beyond ``size`` says that bytes are missing."""
    if at + 2 > size:
        return at + 2, max(at + 2, size + 1)
    length, start = data[at + 1] & 0x7F, at + 2
    if length == SHORT:
        start = at + 4
        length = int.from_bytes(data[at + 2 : start], "big") if start <= size else 0
    elif length == SHORT + 1:
        start = at + 10
        length = int.from_bytes(data[at + 2 : start], "big") if start <= size else 0
    if data[at + 1] & 0x80:
        start += 4
    return start, start + length

"""Stopping a process that hangs in a library, where Python cannot act on a signal."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@contextmanager
def stopped_even_if_hanging(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` from a thread as soon as the process is told to stop, whatever the main thread does.

    Signal handlers of Python run between two instructions of the main thread: a call into C++ that waits for other
    nodes holds them up until it returns, while accelerators are held.
    """
    told, telling = socket.socketpair()
    telling.setblocking(False)
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_wait, args=(told, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        telling.close()
        thread.join()
        told.close()


def _wait(told: socket.socket, stop: Callable[[], None]) -> None:
    while number := told.recv(1):  # the kernel's handler writes the signal's number
        if number[0] in _STOPPING:
            stop()

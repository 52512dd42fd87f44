"""A USB-CAN adapter made of software: the kernel's slcan driver at one end of a pty, we behind it.

The kernel sees a real CAN device with bit rate, state, error frames and bus-off, all as the test
wants. Protocol: Lawicel's, as linux/drivers/net/can/slcan has it.
"""

import fcntl
import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Callable

from bms_can.frame import Frame

N_SLCAN, TIOCSETD, SIOCGIFNAME = 17, 0x5423, 0x8910
LOOK_S = 0.02
STATES = {"error-active": "a", "error-warning": "w", "error-passive": "p", "bus-off": "b"}


class Adapter:
    """One adapter; pulled and put back by making a new one.

    Args:
        on_frame: called with each frame that the computer sends, in a thread of the adapter.

    Attributes:
        name: of the interface in the kernel.
        stalled: while set the adapter takes nothing from the computer.
        commands: what it was told that is no frame, such as "O" (open) and "S6" (500 kbit/s).
    """

    def __init__(self, on_frame: Callable[[Frame], object]) -> None:
        self._master, self._slave = pty.openpty()
        for end in (self._master, self._slave):
            tty.setraw(end)
        fcntl.ioctl(self._slave, TIOCSETD, struct.pack("i", N_SLCAN))
        self.name = fcntl.ioctl(self._slave, SIOCGIFNAME, bytes(40)).split(b"\0")[0].decode()
        self.stalled = threading.Event()
        self.commands: list[str] = []
        self._on_frame = on_frame
        self._gone = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="adapter")
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Let the computer receive a data frame."""
        head = f"T{frame.can_id:08X}" if frame.extended else f"t{frame.can_id:03X}"
        self._tell(f"{head}{len(frame.data)}{frame.data.hex().upper()}")

    def state(self, name: str, tx_errors: int = 0, rx_errors: int = 0) -> None:
        """Let the controller be in a state, with its error counters."""
        self._tell(f"s{STATES[name]}{rx_errors:03d}{tx_errors:03d}")

    def error(self, kinds: str) -> None:
        """Report bus errors: a no ack, b bit, c crc, f form, o receive overrun, s stuff."""
        self._tell(f"e{len(kinds)}{kinds}")

    def pull(self) -> None:
        """Take the adapter away: its interface goes."""
        self._gone.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _tell(self, text: str) -> None:
        with self._writing:
            if self._gone.is_set():
                raise OSError("the adapter is not plugged in")
            os.write(self._master, text.encode() + b"\r")

    def _serve(self) -> None:
        left = b""
        while not self._gone.is_set():
            if self.stalled.is_set():
                self._gone.wait(LOOK_S)
            elif select.select([self._master], [], [], LOOK_S)[0]:
                *lines, left = (left + os.read(self._master, 4096)).split(b"\r")
                for line in lines:
                    self._take(line.decode("ascii", "replace"))

    def _take(self, line: str) -> None:
        size = {"t": 3, "T": 8}.get(line[:1])
        if size is None:
            self.commands.append(line)
            return
        can_id, data = int(line[1 : 1 + size], 16), bytes.fromhex(line[2 + size :])
        self._on_frame(Frame(0.0, can_id, size == 8, data))

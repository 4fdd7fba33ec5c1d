"""A server that sends answers in one of several ways; the target chooses the way and the length.

GET /WAY/LENGTH gets LENGTH bytes of body. Serves one connection at a time, keep-alive. Prints a line when it listens,
with the ways that this kernel supports. In Python, since rings shared with the kernel are unsafe code in Rust.
"""

import ctypes
import mmap
import os
import select
import socket
import struct
import sys
import tempfile

SO_ZEROCOPY = 60
MSG_ZEROCOPY = 0x4000000
MSG_ERRQUEUE = 0x2000
MSG_MORE = 0x8000

libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    """An io_uring of a few entries, used for one operation at a time (linux/io_uring.h)."""

    SETUP, ENTER = 425, 426
    GETEVENTS = 1
    SEND, RECV, SEND_ZC = 26, 27, 47
    MORE = 2

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(self.SETUP, 8, params)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        fields = struct.unpack_from("10I", params, 0)
        sq_entries, cq_entries = fields[0], fields[1]
        _, self.sq_tail, self.sq_mask, _, _, _, self.sq_array = struct.unpack_from("7I", params, 40)
        self.cq_head, self.cq_tail, self.cq_mask, _, _, self.cqes = struct.unpack_from("6I", params, 80)
        shared = {"flags": mmap.MAP_SHARED, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
        self.sq = mmap.mmap(self.fd, self.sq_array + 4 * sq_entries, offset=0, **shared)
        self.cq = mmap.mmap(self.fd, self.cqes + 16 * cq_entries, offset=0x8000000, **shared)
        self.entries = mmap.mmap(self.fd, 64 * sq_entries, offset=0x10000000, **shared)

    def word(self, ring, at):
        return struct.unpack_from("I", ring, at)[0]

    def submit(self, opcode, fd, buffer, offset, length):
        """One operation; its result."""
        tail = self.word(self.sq, self.sq_tail)
        index = tail & self.word(self.sq, self.sq_mask)
        address = ctypes.addressof(buffer) + offset
        entry = struct.pack("BBHiQQIIQ24x", opcode, 0, 0, fd, 0, address, length, 0, 1)
        self.entries[64 * index : 64 * index + 64] = entry
        struct.pack_into("I", self.sq, self.sq_array + 4 * index, index)
        struct.pack_into("I", self.sq, self.sq_tail, (tail + 1) & 0xFFFFFFFF)
        result, submit, open_ends = None, 1, 1
        while open_ends:
            done = libc.syscall(self.ENTER, self.fd, submit, 1, self.GETEVENTS, None, 0)
            if done < 0 and ctypes.get_errno() != 4:
                raise OSError(ctypes.get_errno(), "io_uring_enter")
            if done > 0:
                submit = 0
            head = self.word(self.cq, self.cq_head)
            while head != self.word(self.cq, self.cq_tail):
                at = self.cqes + 16 * (head & self.word(self.cq, self.cq_mask))
                _, value, flags = struct.unpack_from("QiI", self.cq, at)
                head = (head + 1) & 0xFFFFFFFF
                struct.pack_into("I", self.cq, self.cq_head, head)
                if result is None:
                    result = value
                # A zero-copy send completes a second time, when the pages are free again.
                open_ends = 1 if flags & self.MORE else 0
        if result < 0:
            raise OSError(-result, "io_uring")
        return result


def by_send(client, data):
    client.sendall(data)


def by_sendfile(client, data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        client.sendfile(file)


def by_splice(client, data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        out, into = os.pipe()
        left = len(data)
        while left:
            held = os.splice(file.fileno(), into, left)
            left -= held
            while held:
                held -= os.splice(out, client.fileno(), held)
        os.close(out)
        os.close(into)


def by_zerocopy(client, data):
    client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    view, calls, told = memoryview(data), 0, 0
    while view:
        view = view[client.send(view, MSG_ZEROCOPY) :]
        calls += 1
    # The pages must not change before the kernel has released them.
    while told < calls:
        poll = select.poll()
        poll.register(client, 0)
        poll.poll()
        _, messages, _, _ = client.recvmsg(1, 512, MSG_ERRQUEUE)
        for _, _, message in messages:
            first, last = struct.unpack_from("8xII", message, 0)
            told += last - first + 1


ring = None


def by_ring(opcode):
    def send(client, data):
        buffer = (ctypes.c_char * len(data)).from_buffer_copy(data)
        sent = 0
        while sent < len(data):
            sent += ring.submit(opcode, client.fileno(), buffer, sent, len(data) - sent)

    return send


WAYS = {
    "send": by_send,
    "sendfile": by_sendfile,
    "splice": by_splice,
    "zerocopy": by_zerocopy,
    "io_uring": by_ring(Ring.SEND),
    "io_uring_zerocopy": by_ring(Ring.SEND_ZC),
}


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = ctypes.create_string_buffer(4096)
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            if ring:
                length = ring.submit(Ring.RECV, client.fileno(), buffer, 0, 4096)
                got = buffer.raw[:length]
            else:
                got = client.recv(4096)
            if not got:
                return
            pending += got
        head, pending = pending.split(b"\r\n\r\n", 1)
        _, way, length = head.split(b" ")[1].decode().split("/")
        body = bytes(65 + n % 26 for n in range(26)) * (int(length) // 26 + 1)
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n%s"
        WAYS[way](client, answer % (length.encode(), body[: int(length)]))


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
try:
    ring = Ring()
except OSError:
    WAYS = {name: way for name, way in WAYS.items() if "io_uring" not in name}
print(" ".join(WAYS), flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        serve(connection)

"""Sends raw frames on an interface. Standard input has the frames, each after its length (four bytes, big-endian);
`sent N` on standard output says that all were accepted."""

import socket
import struct
import sys

packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
packets.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 20)
packets.bind((sys.argv[1], 0))
sent = 0
while length := sys.stdin.buffer.read(4):
    packets.send(sys.stdin.buffer.read(struct.unpack(">I", length)[0]))
    sent += 1
print("sent", sent)

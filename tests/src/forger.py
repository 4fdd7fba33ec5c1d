"""Forges closes on live connections: `forger.py INTERFACE PORT SENDER DAMAGE`.

SENDER is `client` or `server`, whose segments are forged. DAMAGE says why their receiver refuses them: `sum` (a wrong
checksum) or `ttl` (a TTL of 1, which a rule at the receiver drops). With `payload`, which has such a TTL, a request comes
after each answer of the server, before the client's own; with `head`, the rest of a head after each part of one that the
client sends. Otherwise: after some segments with payload of the server at PORT, it sends a SYN (for the server a SYN-ACK)
with other numbers, a RST and a FIN at the sender's position, and another SYN; after a SYN-ACK of the server, one with
another number. Prints `ready`, then the number of sent segments, a line each.
"""

import socket
import struct
import sys

INTERFACE, PORT, SENDER, DAMAGE = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
AFTER = (1, 2, 12, 40)
REQUEST = b"GET /forged HTTP/1.1\r\nHost: a\r\n\r\n"
REST = b"/forged HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbody"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets.bind((INTERFACE, 0))


def added_up(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame(ethernet, source, destination, ports, seq, ack, flags, payload=b""):
    ttl = 64 if DAMAGE == "sum" else 1
    length = 20 + len(payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0x4000, ttl, 6, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", 0xFFFF - added_up(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 512, 0, 0)
    right = 0xFFFF - added_up(source + destination + struct.pack("!HH", 6, length) + tcp + payload)
    stored = right ^ 0x1234 if DAMAGE == "sum" else right
    return ethernet + ip + tcp[:16] + struct.pack("!H", stored) + tcp[18:] + payload


ours = {}
answers = {}
sent = 0
print("ready", flush=True)
while True:
    data, (_, _, kind, *_) = packets.recvfrom(1 << 17)
    if data[12:14] != b"\x08\x00" or data[23] != 6 or data[22] == 1:
        continue
    at = 14 + (data[14] & 15) * 4
    source_port, destination_port, seq, ack = struct.unpack("!HHII", data[at : at + 12])
    flags = data[at + 13]
    length = 14 + struct.unpack("!H", data[16:18])[0] - at - (data[at + 12] >> 4) * 4
    if PORT not in (source_port, destination_port) or flags & (RST | FIN):
        continue
    from_server = source_port == PORT
    client = destination_port if from_server else source_port
    if from_server == (SENDER == "server"):
        stands = seq + length + (1 if flags & SYN else 0)
        known = ours.get(client)
        if known and (stands - known[0]) % (1 << 32) >= 1 << 31:
            continue
        ours[client] = (stands, ack, data[:14], data[26:30], data[30:34], (source_port, destination_port))
    kinds = []
    if from_server and flags & SYN and SENDER == "server":
        kinds = [SYN]
    if DAMAGE == "head":
        part = data[at + (data[at + 12] >> 4) * 4 :][:length]
        if not from_server and length > 0 and not part.endswith(b"\r\n\r\n"):
            kinds = [PSH]
    elif from_server and length > 0:
        answers[client] = answers.get(client, 0) + 1
        if DAMAGE == "payload":
            kinds = [PSH]
        elif answers[client] in AFTER:
            kinds = [SYN, RST, FIN, SYN]
    if not kinds or client not in ours:
        continue
    stands, acknowledged, ethernet, *ends, ports = ours[client]
    if SENDER == "client" and from_server:
        acknowledged = seq + length
    for kind in kinds:
        off = 77_777 * (1 + sent) if kind == SYN else 0
        bits = kind if kind == SYN and SENDER == "client" else kind | ACK
        payload = b"" if kind != PSH else REST if DAMAGE == "head" else REQUEST
        packets.send(frame(ethernet, *ends, ports, stands + off, acknowledged, bits, payload))
        sent += 1
    print(sent, flush=True)

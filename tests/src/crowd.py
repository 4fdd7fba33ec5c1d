"""Opens connections to the listener on standard input that stay open: crowd.py COUNT PER_SECOND ADDRESS...

Each is accepted, requested and answered before the next begins, so that a full backlog drops none. Both ends are then
closed without a packet (TCP_REPAIR), so that no limit of descriptors applies.
"""
import socket, sys, time

TCP_REPAIR = 19
KINDS = [
    (b"GET /half HTT", b""),
    (b"GET /idle HTTP/1.1\r\nHost: flood\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    (b"GET /partial HTTP/1.1\r\nHost: flood\r\n\r\n", b"HTTP/1.1 2"),
]

count, per_second, addresses = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
listener = socket.socket(fileno=0)
listener.settimeout(30)
to = listener.getsockname()
begun = time.monotonic()
for n in range(count):
    asked, answered = KINDS[n % len(KINDS)]
    early = begun + n / per_second - time.monotonic()
    if early > 0:
        time.sleep(early)
    port = 1024 + n // len(addresses)
    client = socket.socket()
    client.settimeout(30)
    client.bind((addresses[n % len(addresses)], port))
    client.connect(to)
    server, _ = listener.accept()
    server.settimeout(30)
    client.sendall(asked)
    assert server.recv(64) == asked
    if answered:
        server.sendall(answered)
        assert client.recv(64) == answered
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        end.close()
print(f"{time.monotonic() - begun:.1f}")

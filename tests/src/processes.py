"""Servers and clients that identify themselves: a server answers with its pid in X-Pid, a client sends its own in
X-Client-Pid. Each prints `ready` or `done`.

`threads PORT`, `forks PORT`, `passes PORT` serve: each connection with a thread, each connection with a process that
then exits, each request with one of two processes that get the socket in turn.
`many ADDRESS PORT COUNT RATE` starts a process per request; so does `one-port ADDRESS PORT COUNT`, all from one port;
`keeps ADDRESS PORT COUNT` sends one request and, after SIGUSR1, COUNT more.
"""

import os
import signal
import socket
import struct
import sys
import threading
import time

MODE, WHERE = sys.argv[1], sys.argv[2:]
FROM = 45454


def head_of(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return data


def answer(connection):
    connection.sendall(f"HTTP/1.1 200 OK\r\nX-Pid: {os.getpid()}\r\nContent-Length: 2\r\n\r\nok".encode())


def serve(connection):
    while head_of(connection):
        answer(connection)
    connection.close()


def ask(connection):
    connection.sendall(f"GET / HTTP/1.1\r\nHost: here\r\nX-Client-Pid: {os.getpid()}\r\n\r\n".encode())
    data = head_of(connection)
    if not data or not data.endswith(b"ok"):
        raise SystemExit(f"no answer: {data}")


def in_a_process(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def listen():
    listener = socket.create_server(("0.0.0.0", int(WHERE[0])), backlog=1024)
    print("ready", flush=True)
    return listener


def worker():
    """A process that answers once on each socket that it gets, and then reports it."""
    ours, theirs = socket.socketpair()

    def work():
        ours.close()
        while True:
            _, [passed], _, _ = socket.recv_fds(theirs, 1, 1)
            with socket.socket(fileno=passed) as connection:
                answer(connection)
            theirs.send(b".")

    in_a_process(work)
    theirs.close()
    return ours


def connect(port=0):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        # Closes with RST, so that the port is free at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.bind(("0.0.0.0", port))
    connection.connect((WHERE[0], int(WHERE[1])))
    return connection


def ask_once(port=0):
    connection = connect(port)
    ask(connection)
    connection.close()


if MODE == "threads":
    listener = listen()
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
elif MODE == "forks":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = listen()
    while True:
        connection = listener.accept()[0]
        in_a_process(lambda: serve(connection))
        connection.close()
elif MODE == "passes":
    workers = [worker(), worker()]
    listener = listen()
    while True:
        connection = listener.accept()[0]
        turn = 0
        while head_of(connection):
            socket.send_fds(workers[turn % 2], [b"."], [connection.fileno()])
            workers[turn % 2].recv(1)
            turn += 1
        connection.close()
elif MODE == "many":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    begun = time.monotonic()
    for n in range(int(WHERE[2])):
        in_a_process(ask_once)
        time.sleep(max(0, begun + n / float(WHERE[3]) - time.monotonic()))
    took = time.monotonic() - begun
    # On a busy host, some of them have yet to be answered.
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    print(f"done: {int(WHERE[2]) / took:.0f} processes per second", flush=True)
elif MODE == "one-port":
    for n in range(int(WHERE[2])):
        os.waitpid(in_a_process(lambda: ask_once(FROM)), 0)
    print("done", flush=True)
elif MODE == "keeps":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    connection = connect()
    ask(connection)
    print("ready", flush=True)
    signal.sigwait([signal.SIGUSR1])
    for n in range(int(WHERE[2])):
        ask(connection)
    time.sleep(0.5)
    connection.close()

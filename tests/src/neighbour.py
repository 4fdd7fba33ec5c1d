"""A small foreign program at TC or XDP.

attach tcx|clsact ingress|egress DEVICE VERDICT first|last|PREFERENCE [SECONDS]
    attaches one and stays; with SECONDS, replaces it that often. Prints a line when it is attached.
    A filter at clsact stays behind.
attach xdp DEVICE                 attaches one that passes everything, and stays
list ingress|egress DEVICE        prints the names of the programs at TCX, in order
detach ingress|egress DEVICE NAME detaches the links at TCX of programs with this name prefix
"""
import ctypes, os, platform, socket, struct, sys, time

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PROG_LOAD, PROG_GET_FD_BY_ID, INFO, QUERY, LINK_CREATE = 5, 13, 15, 16, 28
LINK_GET_FD_BY_ID, LINK_DETACH = 30, 34
TCX = {"ingress": 46, "egress": 47}
PARENT = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
BEFORE = 8
MARK = 0x6E62


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = LIBC.syscall(SYS_BPF, command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result, buffer.raw


def instruction(code, dst=0, src=0, offset=0, immediate=0):
    return struct.pack("<BBhi", code, src << 4 | dst, offset, immediate)


def returns(verdict):
    return instruction(0xB7, 0, immediate=verdict) + instruction(0x95)


def program(verdict, device, side):
    """Instructions: OK, PIPE and UNSPEC return that value; SHOT drops one packet in 32 and passes the others;
    REDIRECT sends each once more over the same device, and marks it."""
    plain = {"OK": 0, "PIPE": 3, "UNSPEC": -1}
    if verdict in plain:
        return returns(plain[verdict])
    if verdict == "SHOT":
        return b"".join([
            instruction(0x85, immediate=7),  # bpf_get_prandom_u32
            instruction(0x57, 0, immediate=31),
            instruction(0x15, 0, offset=2, immediate=0),
            returns(-1),
            returns(2),
        ])
    index = socket.if_nametoindex(device)
    return b"".join([
        instruction(0x61, 2, 1, 8),  # r2 = skb->mark
        instruction(0x15, 2, offset=6, immediate=MARK),
        instruction(0xB7, 2, immediate=MARK),
        instruction(0x63, 1, 2, 8),
        instruction(0xB7, 1, immediate=index),
        instruction(0xB7, 2, immediate=1 if side == "ingress" else 0),
        instruction(0x85, immediate=23),  # bpf_redirect
        instruction(0x95),
        returns(0),
    ])


def load(code, name, kind=3):
    insns, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(65536)
    attributes = struct.pack(
        "<IIQQIIQII16s", kind, len(code) // 8, ctypes.addressof(insns), ctypes.addressof(licence),
        1, len(log), ctypes.addressof(log), 0, 0, name.encode())
    try:
        return bpf(PROG_LOAD, attributes)[0]
    except OSError as error:
        sys.exit(f"{error}: {log.value.decode()}")


def attribute(kind, value):
    return struct.pack("<HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def filter_at(device, side, preference, program_fd, name):
    """Adds a filter at clsact, or replaces the one with this preference and handle."""
    options = (attribute(6, struct.pack("<I", program_fd)) + attribute(7, name.encode() + b"\0")
               + attribute(8, struct.pack("<I", 1)))
    handle = 0x6874 if preference < 0 else 1  # negative: the tracer's own
    info = abs(preference) << 16 | socket.htons(3)
    body = struct.pack("<BBHiIII", 0, 0, 0, socket.if_nametoindex(device), handle, PARENT[side], info)
    body += attribute(1, b"bpf\0") + attribute(2, options)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.send(struct.pack("<IHHII", 16 + len(body), 44, 0x505, 1, 0) + body)
    code = struct.unpack_from("<i", netlink.recv(65536), 16)[0]
    if code:
        sys.exit(f"RTM_NEWTFILTER: {os.strerror(-code)}")


def link(device, kind, program_fd, where=""):
    flags = BEFORE if where == "first" else 0
    attributes = struct.pack(
        "<IIIIIIQ", program_fd, socket.if_nametoindex(device), kind, flags, 0, 0, 0)
    return bpf(LINK_CREATE, attributes)[0]


def there(device, side):
    """Names of the programs at TCX, with their links."""
    ids, links = (ctypes.c_uint32 * 64)(), (ctypes.c_uint32 * 64)()
    attributes = struct.pack(
        "<IIIIQIIQQQQ", socket.if_nametoindex(device), TCX[side], 0, 0,
        ctypes.addressof(ids), 64, 0, 0, ctypes.addressof(links), 0, 0)
    try:
        raw = bpf(QUERY, attributes)[1]
    except FileNotFoundError:
        return []
    found = []
    for at in range(struct.unpack_from("<I", raw, 24)[0]):
        descriptor = bpf(PROG_GET_FD_BY_ID, struct.pack("<III", ids[at], 0, 0))[0]
        info = ctypes.create_string_buffer(256)
        bpf(INFO, struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info)))
        os.close(descriptor)
        found.append((info.raw[64:80].rstrip(b"\0").decode(), links[at]))
    return found


command, arguments = sys.argv[1], sys.argv[2:]
if command == "list":
    side, device = arguments
    print(" ".join(name for name, _ in there(device, side)))
elif command == "detach":
    side, device, prefix = arguments
    for name, number in there(device, side):
        if name.startswith(prefix):
            bpf(LINK_DETACH, struct.pack("<I", bpf(LINK_GET_FD_BY_ID, struct.pack("<I", number))[0]))
elif arguments[0] == "xdp":
    there = link(arguments[1], 37, load(returns(2), "nb_xdp", 6))
    print("attached", flush=True)
    time.sleep(86400)
else:
    hook, side, device, verdict, where = arguments[:5]
    every = float(arguments[5]) if len(arguments) > 5 else None
    held, number = None, 0
    while True:
        name = f"nb_{verdict.lower()}_{side}"[:15]
        descriptor = load(program(verdict, device, side), name)
        if hook == "tcx":
            new = link(device, TCX[side], descriptor, where)
            if held is not None:
                os.close(held)
            held = new
        else:
            filter_at(device, side, int(where), descriptor, name)
        os.close(descriptor)
        if number == 0:
            print("attached", flush=True)
        number += 1
        time.sleep(every if every else 86400)

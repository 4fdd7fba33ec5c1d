"""Installs, upgrades, reloads, restarts, kills, removes and purges the package under systemd while a client asks, and
compares what the client got with what the service wrote. Run by check.sh in a machine of its own.

Arguments: the package, and the same with an older version.
"""

import http.client
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

PORT = 8080
SERVICE = "http-trace"
EVENTS = pathlib.Path("/var/log/http-trace/events.jsonl")
SETTINGS = pathlib.Path("/etc/http-trace/http-trace.toml")
OWN_LINE = "# A line of the administrator.\n"


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


class Client(threading.Thread):
    """Asks for /1, /2 and so on, on connections of twenty requests, and notes when each was answered."""

    def __init__(self):
        super().__init__(daemon=True)
        self.answered = {}
        self.goes_on = True
        self.number = 0

    def run(self):
        while self.goes_on:
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            for _ in range(20):
                self.number += 1
                begun = time.time()
                connection.request("GET", f"/{self.number}")
                response = connection.getresponse()
                response.read()
                assert response.status == 404
                self.answered[self.number] = (begun, time.time())
                time.sleep(0.005)
            connection.close()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}{journal()}")
    return done.stdout.strip()


def journal():
    done = subprocess.run(["journalctl", "--unit", SERVICE, "--no-pager", "--lines", "20"], capture_output=True, text=True)
    return done.stdout


def of_service(name):
    return run("systemctl", "show", "--property", name, "--value", SERVICE)


def traces(after):
    """Waits until an answer given after this time is written."""
    until = time.time() + 30
    while time.time() < until:
        if any(after < begun for begun in written_times()):
            return
        time.sleep(0.2)
    raise SystemExit(f"nothing is written\n{journal()}")


def written():
    """How often each request was written, over all runs."""
    counts = {}
    if not EVENTS.exists():
        return counts
    for line in EVENTS.read_text().splitlines():
        record = json.loads(line)
        if record["event"]["kind"] == "event" and record["event"].get("action", "") != "loss":
            original = record.get("url", {}).get("original", "")
            if original[1:].isdigit():
                number = int(original[1:])
                counts[number] = counts.get(number, 0) + 1
    return counts


def written_times():
    return [client.answered[number][0] for number in written() if number in client.answered]


def status():
    text = pathlib.Path(f"/proc/{of_service('MainPID')}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


gaps = []


def change(what, *command):
    """Something that may stop the service for a while; what is answered meanwhile may be missing."""
    traces(time.time())
    begun = time.time()
    before = of_service("MainPID")
    run(*command)
    while of_service("MainPID") in (before, "0") or of_service("ActiveState") != "active":
        if time.time() > begun + 30:
            raise SystemExit(f"{what}: the service does not come back\n{journal()}")
        time.sleep(0.05)
    ended = time.time()
    gaps.append((what, begun, ended))
    traces(ended)


package, older = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client()
client.start()

run("dpkg", "--install", older)
assert of_service("ActiveState") == "active", journal()
assert run("systemctl", "is-enabled", SERVICE) == "enabled"
started = time.time()
traces(started)
about = status()
assert about["Uid"].split()[0] != "0", about["Uid"]
# CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
assert int(about["CapEff"], 16) == 1 << 12 | 1 << 38 | 1 << 39, about["CapEff"]
assert (about["NoNewPrivs"], about["Seccomp"]) == ("1", "2"), about
print("installed: runs as user", about["Uid"].split()[0], "with CapEff", about["CapEff"])

SETTINGS.write_text(SETTINGS.read_text() + OWN_LINE)
run("systemctl", "reload", SERVICE)
change("upgrade", "dpkg", "--install", "--force-confold", package)
assert SETTINGS.read_text().endswith(OWN_LINE), "the settings of the administrator"
change("restart", "systemctl", "restart", SERVICE)
change("kill", "systemctl", "kill", "--signal", "KILL", SERVICE)
client.goes_on = False
client.join()
last = max(client.answered)
until = time.time() + 30
while last not in written() and time.time() < until:
    time.sleep(0.2)
counts = written()
twice = sorted(number for number, count in counts.items() if count > 1)
assert not twice, f"written more than once: {twice}"
missing = [number for number in client.answered if number not in counts]
asked = [number for number, (begun, _) in client.answered.items() if begun > started]
for what, begun, ended in gaps:
    of_gap = [number for number in missing if client.answered[number][1] >= begun - 0.1 and client.answered[number][0] <= ended]
    missing = [number for number in missing if number not in of_gap]
    print(f"{what}: {ended - begun:.2f} s, in which {len(of_gap)} responses were not seen")
missing = [number for number in missing if client.answered[number][0] > started]
assert not missing, f"missing while the service traced: {missing}\n{journal()}"
print(f"{len(asked)} responses, none written twice, none missing while the service traced")

run("dpkg", "--remove", "http-trace")
assert of_service("ActiveState") in ("inactive", "failed"), journal()
assert not pathlib.Path("/usr/bin/http-trace").exists()
assert SETTINGS.exists() and EVENTS.exists(), "what an administrator may still want"
run("dpkg", "--purge", "http-trace")
left = [path for path in ("/etc/http-trace/http-trace.toml", "/etc/logrotate.d/http-trace", "/var/log/http-trace",
                          "/var/log/private/http-trace", "/var/lib/http-trace", "/var/lib/private/http-trace",
                          "/usr/share/man/man1/http-trace.1", "/usr/lib/systemd/system/http-trace.service")
        if pathlib.Path(path).is_symlink() or pathlib.Path(path).exists()]
assert not left, f"left behind: {left}"
print("removed and purged: nothing is left")

"""The application behind the site's nginx: records by number, a search, login forms of each kind, a
file viewer, and an endpoint for reports of pages. It validates its input as applications do; rules see its statuses.

Usage: app.py ADDRESS PORT
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# Deleted records leave gaps.
ITEMS = {n for n in range(1, 101) if n % 7 != 5}
PASSWORD = "temp123"
# Answer of each form to a wrong password: an error status, the form again, or a redirect to itself.
FORMS = {"/login": 401, "/signin": 200, "/wp-login.php": 200, "/account/login": 302}
FORM = '<form method="post" action="{}"><input name="user"><input name="pass" type="password"></form>'


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "app"
    sys_version = ""

    def answer(self, status, text, kind="text/html", **fields):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        first = lambda name: query.get(name, [""])[0]
        if url.path.startswith("/api/items/"):
            number = url.path.rsplit("/", 1)[1]
            if number.isdecimal() and int(number) in ITEMS:
                return self.answer(200, '{"id":%s}\n' % number, "application/json")
            return self.answer(404, '{"error":"no such item"}\n', "application/json")
        if url.path == "/item":
            number = first("id")
            if not number.isdecimal():
                return self.answer(400, "bad id\n")
            return self.answer(200 if int(number) in ITEMS else 404, "item %d\n" % int(number))
        if url.path == "/search":
            return self.answer(200, "<ul><li>no match among %d</li></ul>\n" % len(ITEMS))
        if url.path == "/view":
            known = first("file") in ("readme.txt", "terms.txt")
            return self.answer(200 if known else 404, "a file\n" if known else "no such file\n")
        if url.path in FORMS:
            again = "incorrect\n" if "error" in query else ""
            return self.answer(200, again + FORM.format(url.path))
        if url.path == "/health":
            return self.answer(200, "ok\n", "text/plain")
        return self.answer(404, "not found\n")

    do_HEAD = do_GET

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(length).decode("latin-1"))
        if self.path in ("/session", "/telemetry"):
            return self.answer(200, "ok\n")
        if self.path == "/graphql":
            return self.answer(200, '{"data":{}}\n', "application/json")
        if self.path not in FORMS:
            return self.answer(405, "GET only\n")
        first = lambda *names: next((form[name] for name in names if name in form), None)
        if first("user", "log") == ["admin"] and first("pass", "pwd") == [PASSWORD]:
            return self.answer(303, "welcome\n", Location="/")
        wrong = FORMS[self.path]
        if wrong == 302:
            return self.answer(302, "", Location=self.path + "?error=1")
        return self.answer(wrong, "incorrect\n" + FORM.format(self.path))

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 1024
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), App).serve_forever()

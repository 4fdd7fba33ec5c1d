"""Sends a capture over HTTP and gRPC to receivers built with the published OTLP packages, and compares what they decode
with the json output of the same run. Then the receivers refuse, delay and answer with wrong success.

Arguments: the program, and a capture.
"""

import concurrent.futures
import gzip
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import grpc
import trustme
from google.protobuf import duration_pb2, unknown_fields
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs, logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics, metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace, trace_service_pb2_grpc as trace_grpc

TOKEN = "Bearer a b"
PATHS = {
    "/v1/logs": logs.ExportLogsServiceRequest,
    "/v1/traces": trace.ExportTraceServiceRequest,
    "/v1/metrics": metrics.ExportMetricsServiceRequest,
}
# Attributes, and the json fields with the same values.
FACTS = {
    "client.address": "client.ip",
    "client.port": "client.port",
    "url.path": "url.path",
    "url.query": "url.query",
    "user_agent.original": "user_agent.original",
    "http.response.status_code": "http.response.status_code",
    "http.response.body.size": "http.response.body.bytes",
}


class Receiver:
    """Keeps what arrived; answers `times` calls with the gRPC status `refuse`, then success."""

    def __init__(self, refuse=None, times=0, wait=None, lie=False):
        self.got, self.tokens = [], set()
        self.refuse, self.times, self.wait, self.lie = refuse, times, wait, lie

    def take(self, request, token):
        self.got.append(request)
        self.tokens.add(token)

    def export(self, request, context):
        if self.times:
            self.times -= 1
            if self.wait:
                status = status_pb2.Status(code=self.refuse.value[0])
                info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=self.wait))
                status.details.add().Pack(info)
                context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            context.abort(self.refuse, "not now \u20ac")
        self.take(request, dict(context.invocation_metadata()).get("authorization"))
        answers = {
            "ExportLogsServiceRequest": logs.ExportLogsServiceResponse,
            "ExportTraceServiceRequest": trace.ExportTraceServiceResponse,
            "ExportMetricsServiceRequest": metrics.ExportMetricsServiceResponse,
        }
        answer = answers[type(request).__name__]()
        if self.lie and isinstance(request, logs.ExportLogsServiceRequest):
            answer.partial_success.rejected_log_records = 1 << 40
            answer.partial_success.error_message = "all \x1b[31m of them"
        return answer

    def serve_grpc(self, authority=None):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        services = type("Services", (), {"Export": lambda _, request, context: self.export(request, context)})()
        logs_grpc.add_LogsServiceServicer_to_server(services, server)
        trace_grpc.add_TraceServiceServicer_to_server(services, server)
        metrics_grpc.add_MetricsServiceServicer_to_server(services, server)
        if authority is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            certificate = authority.issue_cert("localhost")
            pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        server.start()
        self.server = server
        return f"grpc://127.0.0.1:{port}" if authority is None else f"grpcs://localhost:{port}"

    def serve_http(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                receiver.take(PATHS[self.path].FromString(body), self.headers["authorization"])
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"


def unknown(message):
    """Number of fields that the published messages do not define."""
    count = len(unknown_fields.UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for one in value if field.is_repeated else [value]:
            count += unknown(one)
    return count


def records(receiver, kind, scopes, of):
    requests = [r for r in receiver.got if type(r).__name__ == kind]
    return [x for r in requests for resource in r.ListFields()[0][1] for s in getattr(resource, scopes) for x in getattr(s, of)]


def facts(attributes):
    values = {a.key: a.value for a in attributes}
    plain = lambda value: "" if value is None else str(getattr(value, value.WhichOneof("value")))
    return [plain(values.get(name)) for name in FACTS]


def at(record, path):
    for name in path.split("."):
        record = record.get(name, {})
    return "" if record == {} else str(record)


def run(program, capture, url, folder, authority=None, options=""):
    written = folder / "json"
    environment = dict(os.environ, OTEL_EXPORTER_OTLP_HEADERS="authorization=" + TOKEN.replace(" ", "%20"))
    if authority is not None:
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        environment["SSL_CERT_FILE"] = str(folder / "ca.pem")
    outputs = ["-o", f"json:{written}", "-o", f"otlp:{url},signals=logs,spans,metrics{options}"]
    ran = subprocess.run([program, "-r", capture, *outputs], env=environment, capture_output=True, text=True, timeout=120)
    return ran, [json.loads(line) for line in written.read_text().splitlines()]


def main(program, capture):
    folder = pathlib.Path(tempfile.mkdtemp())
    authority = trustme.CA()
    wrong = 0

    def expect(name, what, told):
        nonlocal wrong
        print(f"{'ok' if what else 'WRONG'}: {name}: {told}")
        wrong += not what

    for name, serve, options in [
        ("HTTP", Receiver.serve_http, ",compression=gzip"),
        ("gRPC", Receiver.serve_grpc, ""),
        ("gRPC, gzip", Receiver.serve_grpc, ",compression=gzip"),
        ("gRPC, TLS", lambda receiver: receiver.serve_grpc(authority), ""),
    ]:
        receiver = Receiver()
        ran, written = run(program, capture, serve(receiver), folder, authority, options)
        events = [[at(r, path) for path in FACTS.values()] for r in written if r["event"]["kind"] == "event"]
        lines = records(receiver, "ExportLogsServiceRequest", "scope_logs", "log_records")
        responses = [facts(line.attributes) for line in lines if line.event_name == "http_trace.response"]
        spans = [facts(s.attributes) for s in records(receiver, "ExportTraceServiceRequest", "scope_spans", "spans")]
        numbers = records(receiver, "ExportMetricsServiceRequest", "scope_metrics", "metrics")
        points = {m.name: sum(p.as_int for p in m.sum.data_points) for m in numbers if m.HasField("sum")}
        answered = sum(e[5] != "" for e in events)
        same = responses == events == spans and len(events) > 20 and points == {"http_trace.responses": answered}
        odd = sum(unknown(request) for request in receiver.got)
        told = f"{len(events)} events, {len(lines)} log records, {len(spans)} spans, {len(numbers)} metrics, {odd} unknown fields"
        good = same and odd == 0 and ran.returncode == 0 and receiver.tokens == {TOKEN}
        expect(name, good, told if good else f"{told} {receiver.tokens} {points} {ran.stderr}")

    _, written = run(program, capture, Receiver().serve_http(), folder)
    alerts = sum(r["event"]["kind"] == "alert" for r in written)
    logged = sum(r["event"]["kind"] in ("event", "alert", "pipeline_error") for r in written)
    codes = grpc.StatusCode
    for name, receiver, delivered, said in [
        ("away twice", Receiver(codes.UNAVAILABLE, 2), logged, None),
        ("exhausted for 2 s", Receiver(codes.RESOURCE_EXHAUSTED, 1, wait=2), logged, None),
        ("exhausted for good", Receiver(codes.RESOURCE_EXHAUSTED, 99), 0, "answered status 8 (not now €)"),
        ("forbidden", Receiver(codes.PERMISSION_DENIED, 99), 0, "answered status 7 (not now €)"),
        ("lying", Receiver(lie=True), logged, f"{logged} "),
    ]:
        ran, _ = run(program, capture, receiver.serve_grpc(), folder)
        lines = records(receiver, "ExportLogsServiceRequest", "scope_logs", "log_records")
        good = len(lines) == delivered and (said is None or said in ran.stderr) and "\x1b" not in ran.stderr
        told = f"{len(lines)} of {logged} log records ({alerts} alerts)"
        expect(f"gRPC, {name}", good, told if good else f"{told}: {ran.returncode} {ran.stderr}")
    sys.exit(wrong > 0)


main(*sys.argv[1:])

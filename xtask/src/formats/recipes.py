"""Checks the configurations for Vector: they are YAML, read the file that the service writes, and use documented options
(vector.dev/docs/reference/configuration); their programs, run by Vector's own compiler (PyPI pyvrl), accept every event.
`vector validate` is not run, since no package registry has Vector.

Arguments: the program, a capture, deploy/vector and deploy/http-trace.toml.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import pyvrl
import yaml

SINK = {"inputs", "type", "acknowledgements", "batch", "buffer", "compression", "encoding", "request", "tls"}
DOCUMENTED = {
    "file": {"type", "include", "exclude", "read_from", "max_line_bytes", "data_dir", "fingerprint"},
    "remap": {"type", "inputs", "source", "drop_on_error", "drop_on_abort", "reroute_dropped", "timezone"},
    "elasticsearch": SINK | {"auth", "bulk", "data_stream", "endpoints", "id_key", "mode", "pipeline"},
    "loki": SINK | {"auth", "endpoint", "labels", "out_of_order_action", "remove_label_fields", "remove_timestamp", "tenant_id"},
    "kafka": SINK | {"bootstrap_servers", "key_field", "librdkafka_options", "sasl", "topic"},
    "splunk_hec_logs": SINK | {"default_token", "endpoint", "host_key", "index", "source", "sourcetype", "timestamp_key"},
}


def at(value, path):
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def main(program, capture, folder, settings):
    output = tomllib.loads(pathlib.Path(settings).read_text())["output"][0].removeprefix("json:")
    written = subprocess.run([program, "-r", capture, "-o", "json"], capture_output=True, text=True, check=True).stdout
    lines = written.splitlines()
    wrong = []
    files = sorted(pathlib.Path(folder).glob("*.yaml"))
    for file in files:
        recipe = yaml.safe_load(file.read_text())
        parts = {name: part for kind in ("sources", "transforms", "sinks") for name, part in recipe[kind].items()}
        if recipe["sources"]["file"]["include"] != [output]:
            wrong.append(f"{file.name} does not read {output}")
        for name, part in parts.items():
            wrong += [f"{file.name}: {name}.{key} is not documented" for key in part if key not in DOCUMENTED[part["type"]]]
            wrong += [f"{file.name}: {name} reads {one}" for one in part.get("inputs", []) if one not in parts]
        # Vector passes the event on; this compiler returns the program's last value.
        transform = pyvrl.Transform(recipe["transforms"]["event"]["source"] + "\n.")
        for line in lines:
            event = transform.remap({"message": line, "file": output, "host": "a"})
            rest = {name: value for name, value in event.items() if name != "timestamp"}
            if rest != json.loads(line):
                wrong.append(f"{file.name}: not the event, but {rest}")
        for sink in recipe["sinks"].values():
            named = re.findall(r"\{\{ ([\w.]+) \}\}", json.dumps(sink)) + [sink.get("host_key", "event.kind")]
            wrong += [f"{file.name}: no event has {path}" for path in named if at(event, path) is None]
    print(f"{len(files)} recipes for Vector, {len(lines)} records through each")
    for line in sorted(set(wrong)):
        print(f"WRONG: {line}")
    sys.exit(bool(wrong) or len(files) != 4)


main(*sys.argv[1:])

"""Compares names, types, lists and values of events with the field table of the Elastic Common Schema (npm @elastic/ecs),
and the index template with its types.

Arguments: the program, a capture, the index template, docs/FORMATS.md and the table (`ecs_flat.ts`).
"""

import json
import pathlib
import re
import subprocess
import sys

FIELD = re.compile(r"^  '?([\w@.]+)'?: \{$")
TYPE = re.compile(r"^    type: '(\w+)'")
# Fields whose allowed values are a closed list.
CHOICES = ("event.kind", "event.category", "event.type", "event.outcome")


def table(text):
    """By field name: type, whether it is a list, and the allowed values."""
    fields, name, within = {}, None, ""
    for line in text.splitlines():
        if found := FIELD.match(line):
            name = found[1]
            fields[name] = {"type": None, "list": False, "values": set()}
        elif name and (found := TYPE.match(line)):
            fields[name]["type"] = found[1]
        elif line.startswith("    ") and not line.startswith("     "):
            within = line.strip()
        if name and within.startswith("normalize:") and "'array'" in line:
            fields[name]["list"] = True
        if name and within.startswith("allowed_values:") and (found := re.match(r"^        name: '([\w-]+)'", line)):
            fields[name]["values"].add(found[1])
    return fields


def typed(properties, before=""):
    for name, what in properties.items():
        if "type" in what:
            yield before + name, what["type"]
        yield from typed(what.get("properties", {}), f"{before}{name}.")


def leaves(value, before=""):
    for name, inner in value.items():
        yield before + name, inner
        if isinstance(inner, dict):
            yield from leaves(inner, f"{before}{name}.")


def main(program, capture, template, document, published):
    ecs = table(pathlib.Path(published).read_text())
    ours = dict(typed(json.loads(pathlib.Path(template).read_text())["template"]["mappings"]["properties"]))
    ours = {name: kind for name, kind in ours.items() if not name.startswith("http_trace.")}
    listed = set(re.findall(r"`([\w.]+)`", pathlib.Path(document).read_text().split("These are not:")[1].split("`@timestamp`")[0]))
    wrong = [f"{name} is not in ECS" for name in ours if name not in ecs and name not in listed]
    wrong += [f"{name} is {kind}, not {ecs[name]['type']}" for name, kind in ours.items() if name in ecs and kind != ecs[name]["type"]]
    written = subprocess.run([program, "-r", capture, "-o", "json"], capture_output=True, text=True, check=True).stdout
    records = [json.loads(line) for line in written.splitlines()]
    for record in records:
        for name, value in leaves(record):
            field = ecs.get(name)
            if field is None or field["type"] in (None, "object"):
                continue
            if isinstance(value, list) != field["list"]:
                wrong.append(f"{name} is {json.dumps(value)}, and a list in ECS: {field['list']}")
            if name in CHOICES and not set(value if isinstance(value, list) else [value]) <= field["values"]:
                wrong.append(f"{name} is {value}, not one of {sorted(field['values'])}")
    same = sum(name in ecs and kind == ecs[name]["type"] for name, kind in ours.items())
    print(f"{same} of {len(ours)} fields are in ECS ({len(ecs)} fields) with the same type; {len(records)} records")
    for line in sorted(set(wrong)):
        print(f"WRONG: {line}")
    sys.exit(bool(wrong))


main(*sys.argv[1:])

"""Lints and renders the Helm chart with several sets of values, and validates each rendering strictly against
the API's schemas. The rendering with default values is the kustomize base: written to its file, or compared with it.

Arguments: the folder deploy/kubernetes, and `write` or `check`.
"""

import pathlib
import sys

import helm_python as helm
import kubernetes_validate as validate
import yaml

SETS = {
    "defaults": {},
    "everything": {
        "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
        "rules": {"login.yml": "title: Login\nlogsource:\n  category: webserver\n"},
        "metrics": {"port": 9999, "podMonitor": True},
        "ownEndpoints": ["10.0.0.1:4318", "10.0.0.2:4318"],
        "seccompProfile": {"type": "Localhost", "localhostProfile": "http-trace.json"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}]}}},
        "podAnnotations": {"team": "platform"},
        "podLabels": {"team": "platform"},
    },
    "least": {"podNames": False, "hostPID": False, "statePath": "", "tolerations": [], "nodeSelector": {}, "config": "", "priorityClassName": ""},
}
# The oldest version that the chart allows, and the newest with schemas.
VERSIONS = ["1.25", None]
HEAD = "# Generated from the chart by `cargo xtask manifests`; edit the chart instead.\n"


def main(folder, how):
    chart_folder = folder / "chart"
    report = helm.lint(str(chart_folder))
    messages = report.get("messages", []) if isinstance(report, dict) else report
    bad = [m for m in messages if str(m.get("severity", "")).lower() not in ("info", "0", "1")]
    for message in bad:
        print("lint:", message)
    wrong = len(bad)
    chart = helm.Chart.load(str(chart_folder))
    for name, values in SETS.items():
        files = chart.render(values=values, name="http-trace", namespace="http-trace")
        found = []
        for file, text in sorted(files.items()):
            if file.endswith(".txt"):
                continue
            found += [document for document in yaml.safe_load_all(text) if document]
        for document in found:
            pod = document.get("spec", {}).get("template", {}).get("spec", {})
            if document["kind"] == "DaemonSet" and pod.get("enableServiceLinks") is not False:
                wrong += 1
                print(f"{name}: a Service called http-trace would set the agent's HTTP_TRACE_PORT")
            for version in VERSIONS:
                # There is no schema of the Prometheus operator here.
                if document["apiVersion"].startswith("monitoring.coreos.com/"):
                    continue
                try:
                    validate.validate(document, version or validate.latest_version(), strict=True)
                except validate.ValidationError as error:
                    where = ".".join(str(part) for part in getattr(error, "absolute_path", []))
                    why = getattr(error, "message", str(error)).splitlines()[0]
                    print(f"{name}: {document['kind']} ({version or 'newest'}): {where}: {why}")
                    wrong += 1
        kinds = ", ".join(document["kind"] for document in found)
        print(f"{name}: {kinds}")
        if name == "defaults":
            base = HEAD + "".join("---\n" + text.strip() + "\n" for file, text in sorted(files.items())
                                  if not file.endswith(".txt") and text.strip())
            path = folder / "base" / "http-trace.yaml"
            if how == "write":
                path.write_text(base)
            elif not path.exists() or path.read_text() != base:
                print(f"{path} differs from the chart: run `cargo xtask manifests`")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))

"""The chart as the tests see it: rendered with values, its objects checked against Kubernetes' own schemas."""

import difflib
import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parents[1]
ROOT = DEPLOY.parent
CHART = DEPLOY / "helm/weir"
# The oldest that the chart names, the one that most run, the newest that is known.
KUBERNETES = ("1.25", "1.32", "1.37")
UPDATE = bool(os.environ.get("WEIR_UPDATE"))
# Of Prometheus' operator; kubernetes-validate has Kubernetes' own only.
CUSTOM = {"PodMonitor", "ServiceMonitor", "PrometheusRule"}


@functools.cache
def _chart():
    """Loaded once: the tests render it hundreds of times."""
    return helm.Chart.load(str(CHART))


@functools.cache
def _render(values, name, namespace):
    values = json.loads(values)
    _chart().validate_schema(values)
    return _chart().render(values, name=name, namespace=namespace)


def render(values=None, name="weir", namespace="logging"):
    """The texts of the templates by path. Raises helm.HelmError where the chart refuses the values."""
    return dict(_render(json.dumps(values or {}), name, namespace))


def objects(values=None, **release):
    """The objects that would be sent to the API."""
    found = []
    for path, text in render(values, **release).items():
        if path.endswith(".yaml"):
            found += [document for document in yaml.safe_load_all(text) if document]
    return found


def one(found, kind, ending=""):
    """The only object of a kind, or the only one whose name ends so."""
    of_kind = [o for o in found if o["kind"] == kind and o["metadata"]["name"].endswith(ending)]
    assert len(of_kind) == 1, f"{len(of_kind)} objects of kind {kind}"
    return of_kind[0]


def pod(found):
    """The pod of the agent."""
    return one(found, "DaemonSet")["spec"]["template"]["spec"]


def agent(found):
    """The agent's container."""
    return next(c for c in pod(found)["containers"] if c["name"] == "weir")


def config(found):
    """The rendered configuration."""
    (text,) = one(found, "Secret")["stringData"].values()
    return text


def lint(values):
    """What helm's linter has against the chart with these values."""
    said = helm.lint(str(CHART), values, strict=True, kube_version="v1.32.0", namespace="logging", with_subcharts=True)
    # 1 is a note, such as that an icon is missing.
    return [m for m in said["messages"] if m["severity"] > 1] + said["errors"]


@functools.cache
def _valid(text, version):
    try:
        kubernetes_validate.validate(yaml.safe_load(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)[:400]
    return ""


def faults(found, versions=KUBERNETES):
    """What Kubernetes' schemas have against objects: unknown fields and wrong types."""
    wrong = []
    for version in versions:
        for one_of_them in found:
            if one_of_them["kind"] in CUSTOM:
                continue
            fault = _valid(yaml.safe_dump(one_of_them), version)
            if fault:
                wrong.append((version, one_of_them["kind"], fault))
    return wrong


def is_snapshot(name, text):
    """Whether a text is as it was; with WEIR_UPDATE it is written. Returns the difference, empty if there is none."""
    path = DEPLOY / "tests/snapshots" / name
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return ""
    before = path.read_text() if path.exists() else ""
    return "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), "rendered"))


class Refused(Exception):
    """weir found errors in a configuration."""


def weir_check(text, expand=True, **variables):
    """What `weir check` says of a configuration, None without a binary. Raises Refused where it finds errors."""
    binary = os.environ.get("WEIR_BIN")
    if not binary:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        command = [str(Path(binary).resolve()), "check", *(["-config.expand-env"] if expand else []), file.name]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        if done.returncode > 1:
            raise Refused(said)
        return said

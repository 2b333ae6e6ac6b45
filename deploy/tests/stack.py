"""The stack's chart as the tests see it: weir's own chart within it, and stand-ins for those that must be downloaded.

A stand-in has no values and renders one ConfigMap with all that it was given, after tpl, as the real chart would see it.
So a test sees what is set, and what a name in it leads to. Whether the real charts have such values, stack_values_test.py
asks of subcharts/*.txt. With WEIR_SUBCHARTS=DIR, a folder with the real charts (kube-prometheus-stack, loki, and those in
them: grafana, kube-state-metrics, prometheus-node-exporter), stack_real_test.py renders those.
"""

import atexit
import copy
import functools
import json
import shutil
import tempfile
from pathlib import Path

import helm_python as helm
import yaml

import chart

CHART = chart.DEPLOY / "helm/weir-stack"
FOREIGN = ("kube-prometheus-stack", "loki")
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SHOW = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: given-to-{{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
data:
  values: {{ tpl (toYaml .Values) . | quote }}
"""
# In C where it is there: ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Kinds of Prometheus' operator that this chart makes.
CUSTOM = chart.CUSTOM


def assemble(folder, subcharts=None):
    """A copy of the chart with its dependencies in place. subcharts: a folder with the real ones, or "light" for stand-ins
    and for short boards and rules, since reading those takes most of a rendering's time."""
    copy_of = Path(shutil.copytree(CHART, Path(folder) / "weir-stack"))
    if subcharts == "light":
        subcharts = None
        for board in (copy_of / "files/dashboards").iterdir():
            board.write_text(json.dumps({"uid": board.stem}))
        for rules in (copy_of / "files/rules").iterdir():
            rules.write_text(f"groups: [{{name: {rules.stem}, rules: [{{record: a, expr: b}}]}}]\n")
    within = copy_of / "charts"
    within.mkdir(exist_ok=True)
    shutil.copytree(chart.CHART, within / "weir")
    for name in FOREIGN:
        if subcharts:
            real(Path(subcharts), name, within)
            continue
        (within / name / "templates").mkdir(parents=True)
        version = next(d["version"] for d in ABOUT["dependencies"] if d["name"] == name)
        about = {"apiVersion": "v2", "name": name, "version": version}
        (within / name / "Chart.yaml").write_text(yaml.safe_dump(about))
        (within / name / "templates/given.yaml").write_text(SHOW)
    return copy_of


def real(subcharts, name, within):
    """A real chart, with those of its dependencies that are there too, and without the rest."""
    to = Path(shutil.copytree(subcharts / name, within / name))
    about = yaml.safe_load((to / "Chart.yaml").read_text())
    kept = []
    for dependency in about.get("dependencies", []):
        if (to / "charts" / dependency["name"]).exists():
            kept.append(dependency)
        elif (subcharts / dependency["name"]).exists():
            real(subcharts, dependency["name"], to / "charts")
            kept.append(dependency)
    about["dependencies"] = kept
    (to / "Chart.yaml").write_text(yaml.safe_dump(about))
    (to / "Chart.lock").unlink(missing_ok=True)


@functools.cache
def assembled(subcharts=None):
    folder = tempfile.mkdtemp(prefix="weir-stack-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(assemble(folder, subcharts))


@functools.cache
def loaded(subcharts, enabled):
    """Loaded once for each choice of dependencies: rendering takes those that are not enabled out of a loaded chart."""
    return helm.Chart.load(assembled(subcharts))


def enabled(values):
    return tuple(values.get(d["name"], {}).get("enabled", True) for d in ABOUT["dependencies"])


def merged(base, over):
    """As helm merges values files: maps into each other, all else replaced."""
    whole = copy.deepcopy(base)
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(whole.get(name), dict):
            whole[name] = merged(whole[name], value)
        else:
            whole[name] = copy.deepcopy(value)
    return whole


def values_file(name):
    return yaml.safe_load((CHART / name).read_text())


def at(path, value):
    """A tree with one value: at("a/b", 1) is {"a": {"b": 1}}. Names have dots and dashes, none has a slash."""
    for name in reversed(path.split("/")):
        value = {name: value}
    return value


@functools.cache
def _render(text, subcharts):
    values = json.loads(text)
    of = loaded(subcharts, enabled(values))
    return of.render(values, name="weir-stack", namespace="monitoring")


def render(values=None, subcharts=None):
    """The texts of the templates by path. Raises helm.HelmError where the chart refuses the values."""
    return dict(_render(json.dumps(values or {}, sort_keys=True), subcharts))


def objects(values=None, subcharts=None):
    """The objects that would be sent to the API, the stand-ins' too."""
    found = []
    for path, text in render(values, subcharts).items():
        if path.endswith(".yaml"):
            found += [document for document in yaml.load_all(text, LOADER) if document]
    return found


def ours(found):
    """Without the stand-ins' objects."""
    return [o for o in found if not o["metadata"]["name"].startswith("given-to-")]


def given(found, name):
    """What a stand-in was given, None if it is not there."""
    for one in found:
        if one["metadata"]["name"] == f"given-to-{name}":
            return yaml.load(one["data"]["values"], LOADER)
    return None


def notes(values=None):
    return render(values)["weir-stack/templates/NOTES.txt"]


def refusals(error):
    """The sentences of a refusal; empty if it is something else, such as an error in a template."""
    said = str(error)
    if "These values cannot be used:" not in said:
        return []
    return [line[4:] for line in said.split("These values cannot be used:")[1].splitlines() if line.startswith("  - ")]

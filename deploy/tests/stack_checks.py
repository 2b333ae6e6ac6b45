"""What has to hold of every rendering of the stack's chart: nothing is half there."""

import functools
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

import chart
import stack

AMTOOL = shutil.which("amtool")
# Secrets that the user makes; NOTES.txt, values.yaml and docs/ say how.
USERS_SECRETS = {
    "weir-stack-receivers",
    "weir-stack-grafana-database",
    "weir-stack-loki-storage",
    "prometheus-auth",
    "weir-stack-grafana-tls",
    "weir-stack-prometheus-tls",
    "sealed-secrets-key",
}
# Claims that the parts' own charts make.
CLAIMS = {
    "grafana": "weir-stack-grafana",
    "prometheus": "prometheus-weir-stack-prometheus-db-prometheus-weir-stack-prometheus-0",
    "loki": "storage-weir-stack-loki-0",
}


def parts(found):
    """Which of the parts are there, by what the stand-ins were given."""
    kps, loki = stack.given(found, "kube-prometheus-stack"), stack.given(found, "loki")
    there = set()
    for part in ("prometheus", "alertmanager", "grafana"):
        if kps and kps[part]["enabled"]:
            there.add(part)
    if loki:
        there.add("loki")
    if any(o["kind"] == "DaemonSet" for o in found):
        there.add("weir")
    return there


def pods(found):
    for one in found:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", one).get("spec", {}).get("template", {}).get("spec")
        if spec:
            yield one, spec


def named(found, kind):
    return {o["metadata"]["name"] for o in found if o["kind"] == kind}


def dangling(found):
    """References to what is not there."""
    there, wrong = parts(found), []
    secrets = named(found, "Secret") | USERS_SECRETS
    maps = named(found, "ConfigMap")
    claims = named(found, "PersistentVolumeClaim") | {CLAIMS[p] for p in there & CLAIMS.keys()} | {"archives"}
    services = named(found, "Service") | {f"weir-stack-{p}" for p in there}
    for one, pod in pods(found):
        volumes = {v["name"] for v in pod.get("volumes", [])}
        mounts = {m["name"] for c in pod["containers"] + pod.get("initContainers", []) for m in c["volumeMounts"]} if (
            volumes
        ) else set()
        if volumes != mounts:
            wrong.append(f"{one['metadata']['name']}: volumes {volumes} and mounts {mounts}")
        for volume in pod.get("volumes", []):
            for what, key, known in (
                ("secret", "secretName", secrets),
                ("configMap", "name", maps),
                ("persistentVolumeClaim", "claimName", claims),
            ):
                name = volume.get(what, {}).get(key)
                if name and name not in known:
                    wrong.append(f"{one['metadata']['name']}: {what} {name} is not there")
    for one in found:
        if one["kind"] == "Ingress":
            for rule in one["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    service = path["backend"]["service"]["name"]
                    if service not in services:
                        wrong.append(f"{one['metadata']['name']}: service {service} is not there")
        for part in {"prometheus", "alertmanager", "grafana", "loki"} - there:
            if one["metadata"]["name"].startswith(f"weir-stack-{part}"):
                wrong.append(f"{one['metadata']['name']} is for {part}, which is not there")
        # An address of a part that is not there, anywhere: in a data source, a job, or what another chart was given.
        for part in re.findall(r"https?://weir-stack-([a-z]+)", json.dumps(one)):
            if part not in there and f"weir-stack-{part}" not in named(found, "Service"):
                wrong.append(f"{one['metadata']['name']}: http://weir-stack-{part} leads nowhere")
    return wrong


def datasources(found):
    for one in found:
        if one["metadata"]["name"] == "weir-stack-datasources":
            text = one["data"]["weir-stack.yaml"]
            return {d["uid"]: d for d in yaml.load(text, stack.LOADER)["datasources"]}
    return {}


def alertmanager(found):
    """The configuration of Alertmanager and its templates; None if this chart makes none."""
    for one in found:
        if one["metadata"]["name"] == "weir-stack-alertmanager-config":
            return one["stringData"]
    return None


def for_old_amtool(config):
    """Debian's 0.25 does not know these three; what is put in their place is checked as well."""
    config = json.loads(json.dumps(config))
    for receiver in config["receivers"]:
        for telegram in receiver.get("telegram_configs", []):
            telegram["bot_token"] = telegram.pop("bot_token_file")
            telegram.pop("message_thread_id", None)
        for webhook in receiver.get("webhook_configs", []):
            webhook.setdefault("url", "http://127.0.0.1/" + webhook.pop("url_file", ""))
    return config


@functools.cache
def amtool(text, template):
    """What amtool has against a configuration; empty if nothing, or if it is not there."""
    if not AMTOOL:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        config = for_old_amtool(yaml.safe_load(text))
        config["templates"] = [f"{folder}/weir.tmpl"]
        (Path(folder) / "weir.tmpl").write_text(template)
        (Path(folder) / "alertmanager.yml").write_text(yaml.safe_dump(config))
        done = subprocess.run(
            [AMTOOL, "check-config", f"{folder}/alertmanager.yml"], capture_output=True, text=True, timeout=60
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


def custom(one):
    """What is wrong with the shape of an object of Prometheus' operator, which has no schema here."""
    spec = one["spec"]
    if one["kind"] == "PrometheusRule":
        for group in spec["groups"]:
            if set(group) - {"name", "interval", "rules", "limit", "labels"} or not group["rules"]:
                yield f"group {group.get('name')}: {sorted(group)}"
            for rule in group["rules"]:
                extra = set(rule) - {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
                if extra or "expr" not in rule or ("alert" in rule) == ("record" in rule):
                    yield f"rule {rule.get('alert') or rule.get('record')}: {sorted(rule)}"
        if set(spec) != {"groups"}:
            yield f"{sorted(spec)}"
    elif one["kind"] == "ServiceMonitor":
        if set(spec) - {"selector", "endpoints", "jobLabel", "namespaceSelector", "targetLabels"}:
            yield f"{sorted(spec)}"
    elif one["kind"] == "PodMonitor":
        if set(spec) - {"selector", "podMetricsEndpoints", "jobLabel", "namespaceSelector", "podTargetLabels"}:
            yield f"{sorted(spec)}"


@functools.cache
def valid(text, version):
    """What Kubernetes' schemas have against an object."""
    return "".join(fault for _, _, fault in chart.faults([json.loads(text)], [version]))


def faults(found, versions=("1.32",)):
    """All that is wrong with a rendering."""
    wrong = []
    for one in found:
        if one["kind"] not in stack.CUSTOM:
            wrong += [f"{one['kind']}: {fault}" for v in versions if (fault := valid(json.dumps(one, sort_keys=True), v))]
    keys = [(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    wrong += [f"twice: {key}" for key in set(keys) if keys.count(key) > 1]
    wrong += dangling(found)
    for one in found:
        if one["kind"] in stack.CUSTOM:
            wrong += [f"{one['kind']} {one['metadata']['name']}: {fault}" for fault in custom(one)]
    there, sources = parts(found), datasources(found)
    if sources and sum(d.get("isDefault", False) for d in sources.values()) > 1:
        wrong.append("more than one default data source")
    for uid in {s.get("jsonData", {}).get("alertmanagerUid") for s in sources.values()} - {None}:
        if uid not in sources:
            wrong.append(f"a data source names {uid}, which is none")
    secret = alertmanager(found)
    if secret:
        config = yaml.load(secret["alertmanager.yaml"], stack.LOADER)
        receivers = [r["name"] for r in config["receivers"]]
        for route in [config["route"], *config["route"]["routes"]]:
            if route["receiver"] not in receivers:
                wrong.append(f"a route leads to {route['receiver']}, which is no receiver")
        if "CHANGE" in secret["alertmanager.yaml"] or "example.org" in json.dumps(config["global"]).replace(
            "mail.example.org", ""
        ).replace("weir@example.org", ""):
            wrong.append("the shipped configuration's examples are left in Alertmanager's")
        said = amtool(secret["alertmanager.yaml"], secret["weir.tmpl"])
        if said:
            wrong.append(f"amtool: {said}")
        if "alertmanager" not in there:
            wrong.append("Alertmanager is configured and not there")
    return wrong

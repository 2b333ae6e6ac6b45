"""The stack without Helm: it builds, its objects fit together, and each part reads the configuration that it gets."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import chart
import stack
import stack_checks as checks
from kustomize_test import build, builder, read

STACK = chart.DEPLOY / "kustomize/stack"
FILES = stack.CHART / "files"
# Secrets that the user makes; the parts start without.
OPTIONAL = {"alertmanager-receivers", "grafana-admin"}


def without_kubernetes(config, pods):
    """Debian's Prometheus knows no kubernetes_sd_configs: what they would find is given instead."""
    for job in config["scrape_configs"]:
        for one in job.pop("kubernetes_sd_configs", []):
            assert one["role"] in ("pod", "node") and not set(one) - {"role", "namespaces"}, one
            job.setdefault("static_configs", []).extend(pods)
    return config


def pod(namespace, app, name, port, port_name, annotations, phase="Running"):
    """A container's port as role pod finds it."""
    meta = {
        "namespace": namespace,
        "pod_name": name,
        "pod_ip": "10.0.0.1",
        "pod_node_name": "node-1",
        "pod_phase": phase,
        "pod_label_app_kubernetes_io_name": app,
        "pod_container_port_name": port_name,
        **{f"pod_annotation_prometheus_io_{k}": v for k, v in annotations.items()},
    }
    return {"targets": [f"10.0.0.1:{port}"], "labels": {f"__meta_kubernetes_{k}": v for k, v in meta.items()}}


def targets(config, job, pods):
    """The labels of the targets that a job makes of pods; Prometheus takes equal ones for one."""
    config = without_kubernetes({"scrape_configs": [j for j in config["scrape_configs"] if j["job_name"] == job]}, pods)
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(yaml.safe_dump(config))
        file.flush()
        done = subprocess.run(
            ["promtool", "check", "service-discovery", "--timeout=2s", file.name, job],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    found = [entry["labels"] for entry in json.loads(done.stdout) if entry.get("labels")]
    return list({json.dumps(labels, sort_keys=True): labels for labels in found}.values())


class Read(unittest.TestCase):
    """What can be told without kustomize."""

    kustomization = read(STACK / "kustomization.yaml")

    def test_every_file_is_named_and_every_named_file_is_there(self):
        named = {name for name in self.kustomization["resources"] if not name.startswith("..")}
        for generator in self.kustomization["configMapGenerator"] + self.kustomization["secretGenerator"]:
            named |= {file.split("=")[-1] for file in generator.get("files", [])}
        there = {str(p.relative_to(STACK)) for p in STACK.rglob("*") if p.is_file()}
        self.assertEqual(named | {"kustomization.yaml"}, there)

    def test_every_copied_file_is_in_a_map(self):
        named = {file for g in read(FILES / "kustomization.yaml")["configMapGenerator"] for file in g["files"]}
        there = {str(p.relative_to(FILES)) for p in FILES.rglob("*.*") if p.is_file()}
        # Alertmanager's own is config/alertmanager.yml; backup.sh is for machines and for the chart.
        left = {"kustomization.yaml", "alertmanager/alertmanager.yml", "backup/backup.sh", "backup/restore.sh"}
        self.assertEqual(there - named, left)

    def test_versions_are_those_of_the_chart_and_digests_are_whole(self):
        versions = {i["name"].split("/")[-1]: i for i in self.kustomization["images"]}
        for image in versions.values():
            self.assertRegex(image["newTag"], r"^v?\d+\.\d+\.\d+$")
            if "digest" in image:
                self.assertRegex(image["digest"], r"^sha256:[0-9a-f]{64}$")

    def test_alertmanagers_is_the_charts_without_receivers(self):
        path = STACK / "config/alertmanager.yml"
        charts = yaml.safe_load(checks.alertmanager(stack.objects())["alertmanager.yaml"])
        charts["templates"] = ["/etc/alertmanager/templates/*.tmpl"]
        if chart.UPDATE:
            head = [line for line in path.read_text().splitlines(True) if line.startswith("#")]
            path.write_text("".join(head) + yaml.safe_dump(charts, sort_keys=False, width=110))
        self.assertEqual(read(path), charts, "WEIR_UPDATE=1 deploy/tests/run writes it anew")

    def test_data_sources_have_the_charts_uids(self):
        ours = {d["uid"]: d["type"] for d in read(STACK / "config/datasources.yaml")["datasources"]}
        self.assertEqual(ours, {u: d["type"] for u, d in checks.datasources(stack.objects()).items()})

    def test_lokis_limits_and_schema_are_known_to_the_chart_too(self):
        ours, charts = read(STACK / "config/loki.yaml"), stack.DEFAULTS["loki"]["loki"]
        self.assertEqual(ours["schema_config"], charts["schemaConfig"])
        self.assertEqual(set(ours["limits_config"]), set(charts["limits_config"]))
        self.assertEqual(ours["compactor"]["delete_request_store"], ours["schema_config"]["configs"][0]["object_store"])

    def test_loki_shows_a_line_that_came_twice_once_and_reads_its_rules_in_every_version(self):
        ours, charts = read(STACK / "config/loki.yaml"), stack.DEFAULTS["loki"]["loki"]
        for limits in (ours["limits_config"], charts["limits_config"]):
            self.assertFalse(limits["shard_streams"]["enabled"])
            # One stream may be as fast as all of them.
            self.assertEqual(limits["per_stream_rate_limit"], f"{limits['ingestion_rate_mb']}MB")
            self.assertEqual(limits["per_stream_rate_limit_burst"], f"{limits['ingestion_burst_size_mb']}MB")
        # After 3.8 the default is the other one, with which common.storage and ruler.storage are not read.
        self.assertIs(ours["storage_config"]["use_thanos_objstore"], False)


@unittest.skipIf(builder() is None, "neither kubectl nor kustomize")
class Build(unittest.TestCase):
    found = build(STACK) if builder() else []

    def test_objects_are_valid_and_of_one_namespace(self):
        self.assertEqual(chart.faults(self.found), [])
        for one in self.found:
            if not one["kind"].startswith("Cluster"):
                self.assertEqual(one["metadata"].get("namespace", one["metadata"]["name"]), "weir", one["metadata"])

    def test_what_a_pod_names_is_there(self):
        names = {kind: checks.named(self.found, kind) for kind in ("ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount")}
        for one, pod in checks.pods(self.found):
            who = one["metadata"]["name"]
            claims = {t["metadata"]["name"] for t in one["spec"].get("volumeClaimTemplates", [])}
            self.assertIn(pod.get("serviceAccountName", "default"), names["ServiceAccount"] | {"default"})
            mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
            self.assertEqual(mounted, {v["name"] for v in pod.get("volumes", [])} | claims, who)
            for volume in pod.get("volumes", []):
                for source in volume.get("projected", {}).get("sources", [volume]):
                    if "configMap" in source:
                        self.assertIn(source["configMap"]["name"], names["ConfigMap"], who)
                    if "secret" in source:
                        name = source["secret"].get("secretName")
                        self.assertTrue(name in names["Secret"] or name in OPTIONAL and source["secret"]["optional"], name)
                    if "persistentVolumeClaim" in source:
                        self.assertIn(source["persistentVolumeClaim"]["claimName"], names["PersistentVolumeClaim"])
            # The kubelet cannot make a folder within a mounted ConfigMap or Secret.
            for container in pod["containers"]:
                paths = sorted(m["mountPath"] for m in container.get("volumeMounts", []))
                for outer in paths:
                    self.assertEqual([p for p in paths if p.startswith(outer + "/")], [], f"{who}: mounts within {outer}")

    def test_services_lead_to_pods_and_addresses_to_services(self):
        services = {o["metadata"]["name"]: o["spec"] for o in self.found if o["kind"] == "Service"}
        pods = [o["spec"]["template"] for o, _ in checks.pods(self.found)]
        for name, spec in services.items():
            matching = [p for p in pods if spec["selector"].items() <= p["metadata"]["labels"].items()]
            self.assertEqual(len(matching), 1, name)
            ports = {p["name"] for c in matching[0]["spec"]["containers"] for p in c["ports"]}
            self.assertTrue({p["targetPort"] for p in spec["ports"]} <= ports, name)
        text = "".join(json.dumps(o.get("data", {})) for o in self.found if o["metadata"]["name"].split("-")[0] in (
            "prometheus", "loki", "grafana", "weir") and "dashboard" not in o["metadata"]["name"] and "rules" not in o["metadata"]["name"])
        for host, port in re.findall(r"(?:http://|\[)([a-z-]+):(\d+)", text):
            if host != "localhost":
                self.assertIn(int(port), [p["port"] for p in services[host]["ports"]], host)

    def test_images_are_pinned(self):
        for one, pod in checks.pods(self.found):
            for container in pod["containers"]:
                self.assertRegex(container["image"], r":v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$", one["metadata"]["name"])

    def test_no_object_is_too_large_for_kubectl_apply(self):
        for one in self.found:
            self.assertLess(len(json.dumps(one)), 262144, one["metadata"]["name"])

    def test_rights_are_to_read(self):
        for one in self.found:
            for rule in one.get("rules", []):
                self.assertLessEqual(set(rule["verbs"]), {"get", "list", "watch"}, one["metadata"]["name"])
                self.assertNotIn("secrets", rule["resources"])

    def test_agents_keep_their_counters_and_send_lines_to_loki(self):
        agent = chart.agent(self.found)
        fields = {e["name"]: e.get("valueFrom") for e in agent["env"]}
        self.assertEqual(fields["NODE_NAME"], {"fieldRef": {"fieldPath": "spec.nodeName"}})
        (env,) = [o for o in self.found if o["metadata"]["name"].startswith("weir-env-")]
        self.assertEqual(env["data"]["LOKI_URL"], "http://loki:3100/loki/api/v1/push")
        (job, *_) = read(STACK / "config/prometheus.yml")["scrape_configs"]
        self.assertTrue(job["honor_labels"])
        self.assertIn({"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "instance"}, job["relabel_configs"])

    @unittest.skipIf(shutil.which("promtool") is None, "no promtool")
    def test_promtool_has_nothing_against_the_configuration_and_the_rules(self):
        with tempfile.TemporaryDirectory() as folder:
            (config,) = [o for o in self.found if o["metadata"]["name"].startswith("prometheus-config-")]
            (rules,) = [o for o in self.found if o["metadata"]["name"].startswith("weir-rules-")]
            (Path(folder) / "rules").mkdir()
            for name, text in rules["data"].items():
                (Path(folder) / "rules" / name).write_text(text)
            account = "/var/run/secrets/kubernetes.io/serviceaccount"
            for name in ("token", "ca.crt"):
                (Path(folder) / name).write_text("")
            text = config["data"]["prometheus.yml"].replace("/etc/prometheus/rules", f"{folder}/rules").replace(account, folder)
            (Path(folder) / "prometheus.yml").write_text(yaml.safe_dump(without_kubernetes(yaml.safe_load(text), [])))
            done = subprocess.run(
                ["promtool", "check", "config", f"{folder}/prometheus.yml"], capture_output=True, text=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(done.stdout.count("rules found"), len(rules["data"]), done.stdout)

    @unittest.skipIf(shutil.which("promtool") is None, "no promtool")
    def test_each_pod_is_one_target_with_labels_that_stay(self):
        annotated = {"scrape": "true", "port": "10254"}
        pods = [
            # The agent; it has the annotations too, and is no target of the job that follows them.
            pod("weir", "weir", "weir-abcde", 9080, "http-metrics", {"scrape": "true", "port": "9080"}),
            # A pod with two ports and one annotation.
            pod("ingress-nginx", "ingress-nginx", "controller-1", 443, "https", annotated),
            pod("ingress-nginx", "ingress-nginx", "controller-1", 80, "http", annotated),
            pod("shop", "shop", "shop-1", 8080, "http", {}),
            pod("shop", "shop", "job-1", 8080, "http", {"scrape": "true"}, "Succeeded"),
        ]
        config = read(STACK / "config/prometheus.yml")
        weir = targets(config, "weir", pods)
        self.assertEqual([t["instance"] for t in weir], ["node-1"])
        self.assertFalse({"pod", "namespace"} & weir[0].keys())
        others = targets(config, "kubernetes-pods", pods)
        self.assertEqual({t["__address__"] for t in others}, {"10.0.0.1:10254"})
        self.assertEqual({(t["namespace"], t["pod"], t["node"]) for t in others}, {("ingress-nginx", "controller-1", "node-1")})

    @unittest.skipIf(checks.AMTOOL is None, "no amtool")
    def test_amtool_has_nothing_against_alertmanagers(self):
        template = (FILES / "alertmanager/weir.tmpl").read_text()
        self.assertEqual(checks.amtool((STACK / "config/alertmanager.yml").read_text(), template), "")
        broken = (STACK / "config/alertmanager.yml").read_text().replace("receiver: nobody", "receiver: somebody")
        self.assertIn("somebody", checks.amtool(broken, template))


if __name__ == "__main__":
    unittest.main()

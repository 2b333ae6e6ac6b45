"""The kustomization: the same pod as the chart's default rendering, and names that change with what they hold."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import chart

AGENT = chart.DEPLOY / "kustomize/agent"


def builder():
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def build(folder):
    done = subprocess.run([*builder(), str(folder)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def read(path):
    return yaml.safe_load(path.read_text())


class Read(unittest.TestCase):
    """What can be told without kustomize."""

    kustomization = read(AGENT / "kustomization.yaml")

    def test_every_file_is_named_and_every_named_file_is_there(self):
        named = set(self.kustomization["resources"])
        for generator in self.kustomization["secretGenerator"]:
            named |= set(generator["files"])
        self.assertEqual(named | {"kustomization.yaml"}, {path.name for path in AGENT.iterdir()})

    def test_generated_names_are_those_that_the_pod_asks_for(self):
        pod = read(AGENT / "daemonset.yaml")["spec"]["template"]["spec"]
        secrets = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        self.assertEqual(secrets, {g["name"] for g in self.kustomization["secretGenerator"]})
        maps = {e["configMapRef"]["name"] for e in pod["containers"][0]["envFrom"]}
        self.assertEqual(maps, {g["name"] for g in self.kustomization["configMapGenerator"]})
        self.assertNotIn("generatorOptions", self.kustomization, "the hash in the name is what restarts the pods")

    def test_objects_are_valid_by_kubernetes_strict_schemas(self):
        found = [read(AGENT / name) for name in self.kustomization["resources"]]
        self.assertEqual(chart.faults(found), [])

    def test_the_pod_is_the_charts(self):
        ours = read(AGENT / "daemonset.yaml")["spec"]
        charts = chart.one(chart.objects(), "DaemonSet")["spec"]
        self.assertEqual(ours["updateStrategy"], charts["updateStrategy"])
        annotations = charts["template"]["metadata"]["annotations"]
        self.assertEqual(ours["template"]["metadata"]["annotations"], annotations)
        ours, charts = ours["template"]["spec"], charts["template"]["spec"]
        for spec, secret in ((ours, "weir-config"), (charts, "weir")):
            (agent,) = spec["containers"]
            agent.pop("image")
            agent.pop("envFrom", None)
            agent["env"] = [e for e in agent["env"] if e["name"] in ("HOSTNAME", "WEIR_GEOIP_DB")]
            (config,) = [v for v in spec["volumes"] if v["name"] == "config"]
            self.assertEqual(config["secret"].pop("secretName"), secret)
        self.assertEqual(ours, charts)

    def test_the_version_is_the_charts(self):
        (image,) = self.kustomization["images"]
        about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual(image, {"name": "ghcr.io/weir/weir", "newTag": about["appVersion"]})


@unittest.skipIf(builder() is None, "neither kubectl nor kustomize")
class Build(unittest.TestCase):
    def test_it_builds_into_valid_objects_of_one_namespace(self):
        found = build(AGENT)
        self.assertEqual(chart.faults(found), [])
        self.assertEqual(
            sorted(o["kind"] for o in found), ["ConfigMap", "DaemonSet", "Namespace", "Secret", "ServiceAccount"]
        )
        self.assertEqual({o["metadata"].get("namespace", o["metadata"]["name"]) for o in found}, {"weir"})
        self.assertTrue(chart.agent(found)["image"].startswith("ghcr.io/weir/weir:"))

    def test_a_changed_configuration_changes_the_pod(self):
        def pod(config):
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(shutil.copytree(AGENT, Path(folder) / "agent"))
                (copy / "weir.yaml").write_text(config)
                return chart.pod(build(copy))

        one, same, other = pod("a: 1"), pod("a: 1"), pod("a: 2")
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)

    def test_the_component_makes_the_targets_labels_stable(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(AGENT.parent, Path(folder) / "k")
            top = Path(folder) / "top"
            top.mkdir()
            (top / "kustomization.yaml").write_text("resources: [../k/agent]\ncomponents: [../k/podmonitor]\n")
            found = build(top)
        self.assertEqual(chart.faults(found), [])
        template = chart.one(found, "DaemonSet")["spec"]["template"]
        self.assertNotIn("prometheus.io/scrape", template["metadata"]["annotations"])
        fields = {e["name"]: e.get("valueFrom") for e in chart.agent(found)["env"]}
        self.assertEqual(fields["NODE_NAME"], {"fieldRef": {"fieldPath": "spec.nodeName"}})
        ours = chart.one(found, "PodMonitor")["spec"]
        charts = chart.one(chart.objects({"podMonitor": {"enabled": True}}), "PodMonitor")["spec"]
        self.assertEqual(ours["podMetricsEndpoints"], charts["podMetricsEndpoints"])
        labels = template["metadata"]["labels"]
        self.assertLessEqual(ours["selector"]["matchLabels"].items(), labels.items())


if __name__ == "__main__":
    unittest.main()

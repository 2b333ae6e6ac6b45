"""The chart: every value has an effect, every rendering is valid, and the default one asks for nothing needless."""

import copy
import json
import re
import tempfile
import unittest

import helm_python as helm
import yaml

import chart
from cases import CASES, CONTRADICTIONS, MISTAKES, OWN

SHIPPED = chart.ROOT / "config/kubernetes.yaml"
COPIES = [chart.CHART / "files/kubernetes.yaml", chart.DEPLOY / "kustomize/agent/weir.yaml"]
# Maps whose keys are the user's or Kubernetes'.
OPEN = {
    "config",
    "extraConfig",
    "resources",
    "affinity",
    "dnsConfig",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "updateStrategy",
    "anonymize",
    "podSecurityContext",
    "containerSecurityContext",
    "geoip.maxmind.resources",
}
NOT_READ = {"enabled", "global.storageClass"}


def leaves(values, path=()):
    """The values of a tree with their paths; a list or a map of the user's is one value."""
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, dict) and value and ".".join(here) not in OPEN and not is_map_of_texts(here):
            yield from leaves(value, here)
        else:
            yield here, value


def is_map_of_texts(path):
    return path[-1] in {
        "annotations",
        "labels",
        "additionalLabels",
        "podLabels",
        "podAnnotations",
        "commonLabels",
        "nodeSelector",
        "podSelector",
        "namespaceSelector",
    }


def without(values, path):
    """A copy of a tree without one of its values."""
    values = copy.deepcopy(values)
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return values


class Files(unittest.TestCase):
    def test_copies_of_the_shipped_configuration_are_equal_to_it(self):
        for path in COPIES:
            if chart.UPDATE:
                path.write_text(SHIPPED.read_text())
            self.assertFalse(path.is_symlink(), f"{path}: helm package and kustomize follow no links")
            self.assertEqual(path.read_text(), SHIPPED.read_text(), f"{path}: WEIR_UPDATE=1 deploy/tests/run copies it")

    def test_a_package_has_all_that_a_rendering_needs(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = helm.package(str(chart.CHART), destination=folder)
            with helm.Chart.load(str(archive)) as packed:
                self.assertTrue(packed.render({}, name="weir", namespace="logging") == chart.render())

    def test_the_chart_has_the_version_of_the_agent(self):
        cargo = (chart.ROOT / "Cargo.toml").read_text()
        version = next(line.split('"')[1] for line in cargo.splitlines() if line.startswith("version = "))
        about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual((about["version"], about["appVersion"]), (version, version))


class Values(unittest.TestCase):
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    schema = json.loads((chart.CHART / "values.schema.json").read_text())

    def described(self, schema, path=()):
        """Paths of all values in the schema; each must say what it is."""
        for name, inner in schema.get("properties", {}).items():
            here = (*path, name)
            self.assertTrue(inner.get("description", "").endswith("."), f"{'.'.join(here)} has no description")
            yield here
            yield from self.described(inner, here)

    def test_the_schema_describes_every_value_and_no_other(self):
        described = {".".join(path) for path in self.described(self.schema)}
        named = set()
        for path, _ in leaves(self.defaults):
            named |= {".".join(path[: n + 1]) for n in range(len(path))}
        self.assertEqual(named - described, {p for p in named - described if p.split(".")[0] in OPEN})
        others = {name for values, said in CONTRADICTIONS if "of another chart" in said for name in values}
        self.assertEqual(described - named - others, NOT_READ - {"global.storageClass"})

    def test_every_value_is_set_by_a_case(self):
        said = {".".join(path) for values in CASES.values() for path, _ in leaves(values)}
        wanted = {".".join(path) for path, _ in leaves(self.defaults)}
        self.assertEqual(
            {path for path in wanted if not any(s == path or s.startswith(path + ".") for s in said)}, set()
        )

    def test_every_value_of_a_case_has_an_effect(self):
        for name, values in CASES.items():
            whole = chart.render(values)
            for path, _ in leaves(values):
                if ".".join(path) in NOT_READ:
                    continue
                try:
                    less = chart.render(without(values, path))
                except helm.HelmError:
                    continue
                self.assertFalse(less == whole, f"{name}: {'.'.join(path)} changes nothing")

    def test_mistakes_are_refused_with_their_place(self):
        for values, words in MISTAKES:
            with self.assertRaises(helm.HelmError, msg=str(values)) as refused:
                chart.render(values)
            self.assertIn(words, str(refused.exception))

    def test_contradictions_are_refused_with_a_sentence(self):
        for values, words in CONTRADICTIONS:
            with self.assertRaises(helm.HelmError, msg=str(values)) as refused:
                chart.render(values)
            said = str(refused.exception)
            self.assertIn(words, said)
            self.assertEqual(said.count("\n  - "), 1, f"one contradiction, one sentence: {said}")

    def test_all_contradictions_are_told_at_once(self):
        with self.assertRaises(helm.HelmError) as refused:
            chart.render({"daemonset": {}, "loki": {"tenantId": "a"}, "geoip": {"source": "hostPath"}})
        self.assertEqual(str(refused.exception).count("\n  - "), 3)


class Renderings(unittest.TestCase):
    def test_helms_linter_has_nothing_against_any_case(self):
        for name, values in CASES.items():
            self.assertEqual(chart.lint(values), [], name)

    def test_every_object_is_valid_by_kubernetes_strict_schemas(self):
        for name, values in CASES.items():
            self.assertEqual(chart.faults(chart.objects(values)), [], name)

    def test_a_misspelt_field_is_seen(self):
        found = chart.objects()
        chart.pod(found)["securtyContext"] = {}
        self.assertEqual(len(chart.faults(found, versions=["1.32"])), 1)

    def test_names_namespaces_and_selectors_fit_together(self):
        for name, values in CASES.items():
            found = chart.objects(
                values, name="a-release-with-a-rather-long-name-of-53-characters-ok", namespace="logging"
            )
            keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
            self.assertEqual(len(keys), len(set(keys)), name)
            for kind, namespace, of in keys:
                self.assertLessEqual(len(of), 52 if kind == "CronJob" else 63 if kind == "Service" else 253)
                if kind not in ("ClusterRole", "ClusterRoleBinding", "PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"):
                    self.assertEqual(namespace, values.get("namespaceOverride", "logging"), f"{name}: {kind}")
            daemonset = chart.one(found, "DaemonSet")
            labels = daemonset["spec"]["template"]["metadata"]["labels"].items()
            self.assertLessEqual(daemonset["spec"]["selector"]["matchLabels"].items(), labels)
            for of in found:
                selector = of.get("spec", {}).get("selector")
                selector = (
                    selector.get("matchLabels", selector) if selector else of.get("spec", {}).get("podSelector", {})
                )
                self.assertLessEqual(selector.get("matchLabels", selector).items(), labels, f"{name}: {of['kind']}")

    def test_every_mount_has_its_volume_and_every_volume_its_mount(self):
        for name, values in CASES.items():
            for of in chart.objects(values):
                spec = of.get("spec", {}).get("jobTemplate", of).get("spec", {}).get("template", {}).get("spec")
                if not spec:
                    continue
                containers = spec["containers"] + spec.get("initContainers", [])
                mounted = {m["name"] for c in containers for m in c.get("volumeMounts", [])}
                self.assertEqual(mounted, {v["name"] for v in spec["volumes"]}, name)

    def test_two_releases_do_not_meet(self):
        one = chart.objects(CASES["api"], name="weir", namespace="a")
        other = chart.objects(CASES["api"], name="weir", namespace="b")
        names = [{o["metadata"]["name"] for o in of if o["kind"].startswith("Cluster")} for of in (one, other)]
        self.assertEqual(names[0] & names[1], set())

    def test_the_default_rendering_is_the_snapshot(self):
        text = "".join(f"# {path}\n{of.strip()}\n" for path, of in sorted(chart.render().items()))
        self.assertEqual(chart.is_snapshot("default.yaml", text), "", "WEIR_UPDATE=1 deploy/tests/run writes it anew")

    def test_the_notes_tell_three_commands(self):
        for name, values in CASES.items():
            notes = chart.render(values)["weir/templates/NOTES.txt"]
            for words in (
                "rollout status daemonset/",
                "port-forward daemonset/",
                "logs daemonset/",
                "enforce=privileged",
            ):
                self.assertIn(words, notes, name)
        self.assertIn("forwarded nowhere", chart.render()["weir/templates/NOTES.txt"])
        self.assertIn("IP Geolocation by DB-IP", chart.render()["weir/templates/NOTES.txt"])
        self.assertIn("created by MaxMind", chart.render(CASES["countries from MaxMind"])["weir/templates/NOTES.txt"])
        self.assertIn("counters begin at 0", chart.render(CASES["nothing kept"])["weir/templates/NOTES.txt"])


class Rights(unittest.TestCase):
    def test_the_default_rendering_asks_for_nothing_it_can_do_without(self):
        found = chart.objects()
        self.assertEqual(sorted(o["kind"] for o in found), ["DaemonSet", "Secret", "ServiceAccount"])
        pod, agent = chart.pod(found), chart.agent(found)
        self.assertEqual(len(pod["containers"]), 1)
        self.assertNotIn("initContainers", pod)
        self.assertEqual(
            pod["securityContext"], {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
        )
        self.assertEqual(
            agent["securityContext"],
            {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        )
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(chart.one(found, "ServiceAccount")["automountServiceAccountToken"], False)
        self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & pod.keys())
        mounts = {m["name"]: m for m in agent["volumeMounts"]}
        self.assertEqual({name for name, m in mounts.items() if not m.get("readOnly")}, {"state"})
        paths = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
        self.assertEqual(paths, {"pods": "/var/log/pods", "state": "/var/lib/weir"})
        self.assertEqual(
            agent["resources"], {"requests": {"cpu": "20m", "memory": "20Mi"}, "limits": {"memory": "128Mi"}}
        )

    def test_a_token_and_a_role_are_there_with_api_discovery_only(self):
        for name, values in CASES.items():
            found = chart.objects(values)
            api = values.get("discovery") == "api"
            self.assertIs(chart.pod(found)["automountServiceAccountToken"], api, name)
            role = api and values.get("rbac", {}).get("create", True)
            self.assertEqual(any(o["kind"].startswith("ClusterRole") for o in found), role, name)
        rules = chart.one(chart.objects({"discovery": "api"}), "ClusterRole")["rules"]
        nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}
        for written, wanted in (
            ("attach_metadata: {node: true}", True),
            ("attach_metadata:\n      node: true", True),
            ("attach_metadata: {node: false}", False),
        ):
            own = f"scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pod\n    {written}\n"
            for config in (own, yaml.safe_load(own)):
                found = chart.one(chart.objects({"discovery": "api", "config": config}), "ClusterRole")["rules"]
                self.assertEqual(found, rules + [nodes] * wanted, config)
        self.assertEqual(rules, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}])

    def test_profiles_differ_in_the_user_and_one_capability(self):
        for profile, user, added in (
            ("strict", 0, None),
            ("nonRoot", 65532, None),
            ("readAll", 0, ["DAC_READ_SEARCH"]),
        ):
            found = chart.objects({"securityProfile": profile, "persistence": {"hostPath": {"type": "Directory"}}})
            pod, context = chart.pod(found), chart.agent(found)["securityContext"]
            self.assertEqual(pod["securityContext"]["runAsUser"], user)
            self.assertEqual(pod["securityContext"].get("runAsNonRoot", False), user != 0)
            self.assertEqual(context["capabilities"]["drop"], ["ALL"])
            self.assertEqual(context["capabilities"].get("add"), added)
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertIs(context["readOnlyRootFilesystem"], True)

    def test_the_updater_of_databases_is_one_and_has_no_rights(self):
        found = chart.objects(CASES["countries from MaxMind"])
        job = chart.one(found, "CronJob")["spec"]
        self.assertEqual(job["concurrencyPolicy"], "Forbid")
        pod = job["jobTemplate"]["spec"]["template"]["spec"]
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(pod["containers"][0]["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertNotIn(
            "value", str([e for e in pod["containers"][0]["env"] if "LICENSE" in e["name"]]).replace("valueFrom", "")
        )
        volume = next(v for v in chart.pod(found)["volumes"] if v["name"] == "geoip")
        self.assertIs(volume["persistentVolumeClaim"]["readOnly"], True)


class Scraping(unittest.TestCase):
    """Counters go on after a restart only for a target whose labels stay: identity and labels have to agree."""

    def identity(self, values):
        text = chart.config(chart.objects(values))
        return next(line.split("${")[1].split(":")[0] for line in text.splitlines() if "identity:" in line)

    def test_the_identity_is_the_nodes_where_the_targets_labels_stay(self):
        self.assertEqual(self.identity({}), "POD_NAME")
        self.assertEqual(self.identity({"podMonitor": {"enabled": True}}), "NODE_NAME")
        self.assertEqual(self.identity({"serviceMonitor": {"enabled": True}}), "NODE_NAME")
        self.assertEqual(self.identity({"identity": "node"}), "NODE_NAME")
        fields = {
            e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"]
            for e in chart.agent(chart.objects())["env"]
            if "valueFrom" in e
        }
        self.assertEqual(
            fields, {"HOSTNAME": "spec.nodeName", "NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name"}
        )

    def test_monitors_make_the_targets_labels_stable(self):
        for kind, name, ends in (
            ("PodMonitor", "podMonitor", "podMetricsEndpoints"),
            ("ServiceMonitor", "serviceMonitor", "endpoints"),
        ):
            found = chart.objects({name: {"enabled": True, "relabelings": [{"targetLabel": "z", "replacement": "z"}]}})
            (end,) = chart.one(found, kind)["spec"][ends]
            self.assertEqual(
                end["relabelings"],
                [
                    {
                        "action": "replace",
                        "sourceLabels": ["__meta_kubernetes_pod_node_name"],
                        "targetLabel": "instance",
                    },
                    {"action": "labeldrop", "regex": "pod"},
                    {"targetLabel": "z", "replacement": "z"},
                ],
            )
            self.assertEqual((end["port"], end["path"], end["honorLabels"]), ("http-metrics", "/metrics", True))

    def test_annotations_are_there_where_no_monitor_is(self):
        def annotations(values):
            return chart.one(chart.objects(values), "DaemonSet")["spec"]["template"]["metadata"]["annotations"]

        self.assertLessEqual(
            {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "3101",
                "prometheus.io/path": "/x/metrics",
            }.items(),
            annotations({"serverPort": 3101, "httpPathPrefix": "/x"}).items(),
        )
        for values in (
            {"podMonitor": {"enabled": True}},
            {"serviceMonitor": {"enabled": True}},
            CASES["no annotations"],
        ):
            self.assertNotIn("prometheus.io/scrape", annotations(values))

    def test_probes_ask_for_the_pages_under_the_prefix(self):
        agent = chart.agent(chart.objects(CASES["log and port"]))
        self.assertEqual(agent["readinessProbe"]["httpGet"], {"path": "/weir/ready", "port": "http-metrics"})
        self.assertEqual(agent["livenessProbe"]["httpGet"], {"path": "/weir/healthz", "port": "http-metrics"})
        self.assertIn("-server.http-path-prefix=/weir", agent["args"])
        self.assertEqual(agent["ports"][0]["containerPort"], 3101)

    def test_the_network_policy_lets_out_only_what_is_sent(self):
        def egress(values):
            policy = chart.one(chart.objects({**values, "networkPolicy": {"enabled": True}}), "NetworkPolicy")["spec"]
            self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
            return [port["port"] for rule in policy["egress"] for port in rule["ports"]]

        self.assertEqual(egress({}), [])
        self.assertEqual(egress({"loki": {"url": "http://loki/"}}), [53, 53, 3100])
        self.assertEqual(egress({"discovery": "api"}), [53, 53, 443, 6443])


class Configurations(unittest.TestCase):
    def test_the_shipped_configuration_is_rendered_as_it_stands(self):
        self.assertEqual(chart.config(chart.objects({"identity": "node"})), SHIPPED.read_text().rstrip("\n") + "\n")

    def test_nothing_is_forwarded_unless_loki_is_named(self):
        clients = chart.config(chart.objects()).split("clients:\n")[1].split("\n\n")[0]
        self.assertEqual(clients, "  - url: ${LOKI_URL:-}")
        self.assertNotIn("LOKI_URL", str(chart.agent(chart.objects())))

    def test_a_password_is_a_file_and_in_no_object(self):
        found = chart.objects(CASES["loki with a password"])
        text = chart.config(found)
        self.assertIn("password_file: /etc/weir-loki/password", text)
        self.assertIn("tenant_id: edge", text)
        (volume,) = [v for v in chart.pod(found)["volumes"] if v["name"] == "loki"]
        self.assertEqual(volume["secret"]["items"], [{"key": "pw", "path": "password"}])

    def test_a_configuration_of_ones_own_stays_as_it_is_but_for_the_state(self):
        text = chart.config(chart.objects({"config": OWN}))
        self.assertTrue(text.startswith(OWN), text)
        self.assertTrue(text.rstrip().endswith("state:\n  directory: /var/lib/weir"), text)
        own = OWN + "state: {directory: /srv}\n"
        self.assertEqual(chart.config(chart.objects({"config": own})), own)
        self.assertNotIn("-config.expand-env", chart.agent(chart.objects({"config": OWN}))["args"])

    def test_a_changed_configuration_restarts_the_pods_only_if_that_is_on(self):
        def sum_of(values):
            template = chart.one(chart.objects(values), "DaemonSet")["spec"]["template"]
            return template["metadata"]["annotations"].get("checksum/config")

        on = {"rollOnConfigChange": True}
        self.assertNotEqual(sum_of(on), sum_of({**on, "loki": {"url": "http://loki/"}}))
        self.assertIsNotNone(sum_of(on))
        self.assertEqual(sum_of(on), sum_of({**on, "logLevel": "debug"}))
        self.assertIsNone(sum_of({}))
        self.assertIsNone(sum_of({**on, "existingSecret": "mine"}))

    def test_every_rendered_configuration_passes_weir_check(self):
        checked = 0
        for name, values in CASES.items():
            found = chart.objects(values)
            if not any(o["kind"] == "Secret" for o in found):
                continue
            env = {e["name"]: e.get("value", "x") for e in chart.agent(found)["env"]}
            said = chart.weir_check(chart.config(found), "-config.expand-env" in chart.agent(found)["args"], **env)
            if said is None:
                self.skipTest("WEIR_BIN names no binary")
            self.assertIn("0 errors, 0 warnings", said, f"{name}:\n{said}")
            checked += 1
        self.assertGreater(checked, 20)

    def test_an_error_in_a_rendered_configuration_is_seen(self):
        values = {"extraPipelineStages": [{"redcat": {}}]}
        try:
            self.assertIsNone(chart.weir_check(chart.config(chart.objects(values))))
        except chart.Refused as refused:
            self.assertIn("redact", str(refused))

    def test_api_discovery_changes_where_targets_come_from_and_nothing_else(self):
        path = chart.config(chart.objects()).splitlines()
        api = chart.config(chart.objects({"discovery": "api"})).splitlines()
        gone = [line.strip() for line in path if line not in api]
        self.assertEqual(gone, ["pod_directory_sd_configs:", "- root: ${WEIR_LOG_ROOT:-/var/log/pods}"] * 2)
        new = [line.strip() for line in api if line not in path]
        self.assertEqual(new.count("kubernetes_sd_configs:"), 2)
        self.assertEqual(new.count("replacement: /var/log/pods/*$1/*.log"), 4)

    def test_api_discovery_finds_the_logs_of_pods_and_of_static_pods(self):
        text = chart.config(chart.objects({"discovery": "api"}))
        block = text.split("kubernetes_sd_configs:\n      - role: pod\n    relabel_configs:\n")[1].split(
            "    pipeline_stages:"
        )[0]
        pod = {"__meta_kubernetes_pod_uid": "uid-1", "__meta_kubernetes_pod_container_name": "app"}
        static = {
            **pod,
            "__meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash": "true",
            "__meta_kubernetes_pod_annotation_kubernetes_io_config_hash": "hash-1",
        }
        for labels, path in ((pod, "/var/log/pods/*uid-1/app/*.log"), (static, "/var/log/pods/*hash-1/app/*.log")):
            labels = dict(labels)
            for rule in yaml.safe_load(block):
                value = rule.get("separator", ";").join(labels.get(name, "") for name in rule["source_labels"])
                found = re.fullmatch(rule.get("regex", "(.*)"), value)
                if found:
                    labels[rule["target_label"]] = rule.get("replacement", "$1").replace("$1", found[1])
            self.assertEqual(labels["__path__"], path)


if __name__ == "__main__":
    unittest.main()

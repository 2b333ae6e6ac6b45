"""The stack's chart: every value has an effect, what contradicts itself is refused with a sentence, the rest is whole."""

import json
import re
import tempfile
import unittest

import helm_python as helm
import yaml

import chart
import stack
import stack_checks as checks
from chart_test import leaves, without
from stack_cases import CASES, CONTRADICTIONS, EMAIL, MISTAKES, POSTGRES, TELEGRAM, both
from stack import at

FILES = sorted(path.name for path in stack.CHART.glob("values-*.yaml"))
# Handed to the charts within as they are.
WITHIN = {"weir", "kube-prometheus-stack", "loki"}


def own(values):
    """The leaves of what is this chart's own."""
    return leaves({name: value for name, value in values.items() if name not in WITHIN})


def whole_files(name):
    """A file of values with those that it says it needs."""
    needs = {"values-loki-distributed.yaml": ["values-loki-object-storage.yaml"]}
    values = {}
    for each in [*needs.get(name, []), name]:
        values = stack.merged(values, stack.values_file(each))
    return values


class Values(unittest.TestCase):
    schema = json.loads((stack.CHART / "values.schema.json").read_text())

    def described(self, schema, path=()):
        for name, inner in schema.get("properties", {}).items():
            here = (*path, name)
            self.assertTrue(inner.get("description", "").endswith("."), f"{'.'.join(here)} has no description")
            yield here
            yield from self.described(inner, here)

    def test_the_schema_describes_every_value_and_no_other(self):
        described = {".".join(path) for path in self.described(self.schema)}
        named = set(WITHIN)
        for path, _ in own(stack.DEFAULTS):
            if path[:2] in (("backup", "resources"), ("backup", "nodeSelector")):
                path = path[:2]
            if path[:3] == ("backup", "pushgateway", "resources"):
                path = path[:3]
            named |= {".".join(path[: n + 1]) for n in range(len(path))}
        self.assertEqual(described - named, {"global.imageRegistry"})
        self.assertEqual(named - described, set())

    def test_every_value_is_set_by_a_case_and_has_an_effect(self):
        said = set()
        for name, values in CASES.items():
            whole = stack.render(values)
            for path, _ in own(values):
                said.add(".".join(path))
                try:
                    less = stack.render(without(values, path))
                except helm.HelmError:
                    continue
                self.assertFalse(less == whole, f"{name}: {'.'.join(path)} changes nothing")
        wanted = {".".join(path) for path, _ in own(stack.DEFAULTS)}
        missing = {path for path in wanted if not any((s + ".").startswith(path + ".") for s in said)}
        missing = {m for m in missing if not any((m + ".").startswith(s + ".") for s in said)}
        # `resources` of a case is a limit; a request is the same map.
        self.assertEqual({m for m in missing if ".resources." not in m}, set())

    def test_mistakes_are_refused_with_their_place(self):
        for values, words in MISTAKES:
            with self.assertRaises(helm.HelmError, msg=str(values)) as refused:
                stack.render(values)
            self.assertIn(words, str(refused.exception))

    def test_contradictions_are_refused_with_a_sentence(self):
        for values, words in CONTRADICTIONS:
            with self.assertRaises(helm.HelmError, msg=str(values)) as refused:
                stack.render(values)
            said = stack.refusals(refused.exception)
            self.assertTrue(any(words in sentence for sentence in said), f"{words!r} is not in {refused.exception}")
            self.assertEqual(len(said), 1, f"one contradiction, one sentence: {said}")

    def test_every_sentence_of_the_chart_is_provoked(self):
        text = (stack.CHART / "templates/_validate.tpl").read_text()
        sentences = re.findall(r'append \$wrong (?:\(printf )?"((?:[^"\\]|\\.)*)"', text)
        self.assertEqual(len(sentences), text.count("append $wrong"))
        said = []
        for values, _ in CONTRADICTIONS:
            with self.assertRaises(helm.HelmError) as refused:
                stack.render(values)
            said += stack.refusals(refused.exception)
        for sentence in sentences:
            pattern = ".*".join(re.escape(part) for part in re.split(r"%[sq]", sentence.replace('\\"', '"')))
            self.assertTrue(any(re.fullmatch(pattern, one) for one in said), f"nothing provokes: {sentence}")

    def test_all_contradictions_are_told_at_once(self):
        with self.assertRaises(helm.HelmError) as refused:
            stack.render(both(at("loki/enabled", False), at("alerting/receivers/telegram/enabled", True)))
        self.assertEqual(len(stack.refusals(refused.exception)), 2)


class Renderings(unittest.TestCase):
    def test_every_case_and_every_file_of_values_is_whole(self):
        trees = {**CASES, **{name: whole_files(name) for name in FILES}}
        trees["production, bucket, parts"] = both(*(stack.values_file(name) for name in reversed(FILES)))
        users = {"g-tls", "p-tls", "auth", "s"}
        claims = {"a", "b", "c"}
        for name, values in trees.items():
            found = stack.objects(values)
            wrong = [w for w in checks.faults(found, chart.KUBERNETES) if w.split()[-4] not in users | claims]
            self.assertEqual(wrong, [], name)

    def test_the_homelab_asks_for_the_memory_that_it_says(self):
        mebibytes = {"requests": 0, "limits": 0}
        found = stack.objects(stack.values_file("values-homelab.yaml"))
        kps, loki = stack.given(found, "kube-prometheus-stack"), stack.given(found, "loki")
        pods = [kps["prometheus"]["prometheusSpec"], kps["prometheusOperator"], kps["alertmanager"]["alertmanagerSpec"]]
        pods += [kps["grafana"], kps["kube-state-metrics"], kps["prometheus-node-exporter"], loki["singleBinary"]]
        for pod in [*pods, chart.agent(stack.ours(found))]:
            for what in mebibytes:
                size = pod["resources"][what]["memory"]
                mebibytes[what] += int(size[:-2]) * {"Mi": 1, "Gi": 1024}[size[-2:]]
        said = re.search(r"requests of (\S+) GiB of memory and limits of (\S+)", (stack.CHART / "values-homelab.yaml").read_text())
        self.assertEqual([f"{mebibytes[w] / 1024:.1f}" for w in ("requests", "limits")], list(said.groups()))

    def test_each_file_names_the_commands_that_use_it(self):
        for name in FILES:
            self.assertIn(name, (stack.CHART / "values.yaml").read_text())

    def test_a_dangling_name_is_seen(self):
        found = stack.objects({"backup": {"enabled": True}})
        self.assertEqual(checks.faults(found), [])
        for one in found:
            if one["kind"] == "CronJob" and one["metadata"]["name"] == "weir-stack-backup-loki":
                pod = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
                pod["volumes"][0]["configMap"]["name"] = "nothing"
                pod["containers"][0]["env"].append({"name": "X", "value": "http://weir-stack-nothing:1"})
        self.assertEqual(len(checks.faults(found)), 2)

    def test_helms_linter_has_nothing_against_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = stack.assemble(folder)
            for values in ({}, CASES["backup"], CASES["from outside"]):
                said = helm.lint(str(path), values, strict=True, kube_version="v1.32.0", namespace="monitoring")
                self.assertEqual([m for m in said["messages"] if m["severity"] > 1] + said["errors"], [])

    def test_a_package_has_all_that_a_rendering_needs_and_no_more(self):
        with tempfile.TemporaryDirectory() as folder:
            path = stack.assemble(folder)
            with helm.Chart.load(str(helm.package(str(path), destination=folder))) as packed:
                values = {"backup": {"enabled": True}}
                self.assertTrue(packed.render(values, name="weir-stack", namespace="monitoring") == stack.render(values))

    def test_versions_are_those_of_the_agent_and_of_its_chart(self):
        about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual((stack.ABOUT["version"], stack.ABOUT["appVersion"]), (about["version"], about["appVersion"]))
        (weir,) = [d for d in stack.ABOUT["dependencies"] if d["name"] == "weir"]
        self.assertEqual((weir["version"], weir["repository"]), (about["version"], "file://../weir"))


class Content(unittest.TestCase):
    def test_boards_and_rules_come_as_they_are(self):
        found = stack.objects()
        boards = {k: v for o in found for k, v in o.get("data", {}).items() if k.endswith(".json")}
        originals = {p.name: p.read_text().strip() for p in (chart.ROOT / "dashboards").glob("*.json")}
        self.assertEqual({k: v.strip() for k, v in boards.items()}, originals)
        rules = [g for o in found if o["kind"] == "PrometheusRule" for g in o["spec"]["groups"]]
        files = [yaml.safe_load(p.read_text()) for p in sorted((chart.DEPLOY / "rules").glob("*.yaml"))]
        self.assertEqual(rules, [g for f in files for g in f["groups"]])
        (loki,) = [o for o in found if o["metadata"]["name"] == "weir-stack-loki-rules"]
        for name, text in loki["data"].items():
            self.assertEqual(yaml.safe_load(text), yaml.safe_load((chart.DEPLOY / "rules/loki" / name).read_text()))
        self.assertEqual(loki["metadata"]["labels"]["loki_rule"], "")

    def test_no_object_is_too_large_for_kubectl_apply(self):
        for one in stack.ours(stack.objects(CASES["backup"])):
            self.assertLess(len(json.dumps(one)), 262144, one["metadata"]["name"])

    def test_boards_find_their_data_sources(self):
        sources = checks.datasources(stack.objects())
        self.assertEqual(set(sources), {"prometheus", "loki", "alertmanager"})
        self.assertTrue(sources["prometheus"]["isDefault"])
        self.assertEqual(sources["prometheus"]["jsonData"]["timeInterval"], "30s")
        homelab = checks.datasources(stack.objects(stack.values_file("values-homelab.yaml")))
        self.assertEqual(homelab["prometheus"]["jsonData"]["timeInterval"], "60s")
        for values, wanted in (
            (at("global/stack/urls/loki", ""), {"prometheus", "alertmanager"}),
            (at("global/stack/urls", {"loki": "", "alertmanager": "", "prometheus": ""}), set()),
        ):
            values = both(values, CASES["elsewhere"], values)
            self.assertEqual(set(checks.datasources(stack.objects(values))), wanted)

    def test_the_agent_sends_lines_where_loki_is(self):
        def sent(values):
            found = stack.ours(stack.objects(values))
            (text,) = chart.one(found, "Secret", "weir")["stringData"].values()
            return re.findall(r"^clients:\n *- url: (.*)$", text, re.MULTILINE)

        self.assertEqual(sent({}), ["http://weir-stack-loki:3100/loki/api/v1/push"])
        self.assertEqual(sent(CASES["elsewhere"]), ["https://c.example/loki/api/v1/push"])
        # Forwarded nowhere: the shipped variable, which is empty.
        none = both(at("loki/enabled", False), at("global/stack/urls/loki", ""))
        self.assertEqual(sent(none), ["${LOKI_URL:-}"])

    def test_weir_reads_the_configuration_that_the_stack_gives_it(self):
        for values in ({}, CASES["elsewhere"], stack.values_file("values-homelab.yaml")):
            (text,) = chart.one(stack.ours(stack.objects(values)), "Secret", "weir")["stringData"].values()
            if chart.weir_check(text, NODE_NAME="n", WEIR_GEOIP_DB="") is None:
                self.skipTest("WEIR_BIN names no binary")

    def test_urls_reach_the_charts_within(self):
        found = stack.objects(CASES["addresses"])
        kps, loki = stack.given(found, "kube-prometheus-stack"), stack.given(found, "loki")
        spec = kps["prometheus"]["prometheusSpec"]
        self.assertEqual((spec["externalUrl"], spec["externalLabels"]), ("https://p.example.org", {"cluster": "home"}))
        server = kps["grafana"]["grafana.ini"]["server"]
        self.assertEqual(server, {"domain": "g.example.org", "root_url": "https://g.example.org/"})
        ruler = loki["loki"]["rulerConfig"]
        self.assertEqual(ruler["alertmanager_url"], "http://weir-stack-alertmanager:9093")
        elsewhere = stack.given(stack.objects({**at("kube-prometheus-stack/alertmanager/enabled", False), **at(
            "global/stack/urls/alertmanager", "https://b.example")}), "loki")
        self.assertEqual(elsewhere["loki"]["rulerConfig"]["alertmanager_url"], "https://b.example")

    def test_grafana_on_postgres_reads_its_password_from_a_file(self):
        kps = stack.given(stack.objects(at("global/stack/grafanaDatabase", POSTGRES)), "kube-prometheus-stack")
        database = kps["grafana"]["grafana.ini"]["database"]
        self.assertEqual(database["password"], "$__file{/etc/secrets/grafana-database/password}")
        self.assertEqual((database["type"], database["host"]), ("postgres", "postgres.postgres.svc:5432"))
        (mount,) = kps["grafana"]["extraSecretMounts"]
        self.assertEqual(mount["mountPath"], "/etc/secrets/grafana-database")
        self.assertEqual(mount["defaultMode"], 0o440)
        kps = stack.given(stack.objects(), "kube-prometheus-stack")
        self.assertEqual(kps["grafana"]["grafana.ini"]["database"]["password"], "")


class Alerting(unittest.TestCase):
    def config(self, receivers):
        return yaml.safe_load(checks.alertmanager(stack.objects(at("alerting/receivers", receivers)))["alertmanager.yaml"])

    def test_without_receivers_nobody_is_told(self):
        config = self.config({})
        self.assertEqual([r["name"] for r in config["receivers"]], ["nobody"])
        self.assertEqual((config["route"]["receiver"], config["route"]["routes"]), ("nobody", []))
        self.assertEqual(config["global"], {"resolve_timeout": "5m"})

    def test_each_receiver_has_what_was_given_and_its_secret_from_a_file(self):
        shipped = yaml.safe_load((chart.DEPLOY / "alertmanager/alertmanager.yml").read_text())
        config = self.config(
            {
                "telegram": {**TELEGRAM, "threadId": 7},
                "pagerduty": {"enabled": True},
                "email": {**EMAIL, "username": "me"},
                "webhook": {"enabled": True},
            }
        )
        receivers = {r["name"]: r for r in config["receivers"]}
        self.assertEqual(set(receivers), {r["name"] for r in shipped["receivers"]}, "all that is shipped")
        self.assertEqual(config["route"]["routes"], shipped["route"]["routes"])
        self.assertEqual(config["inhibit_rules"], shipped["inhibit_rules"])
        (telegram,) = receivers["telegram"]["telegram_configs"]
        self.assertEqual((telegram["chat_id"], telegram["message_thread_id"]), (-1001234567890, 7))
        self.assertEqual(config["global"]["smtp_smarthost"], "mail.example.org:587")
        (email,) = receivers["email"]["email_configs"]
        self.assertEqual((email["to"], config["global"]["smtp_auth_username"]), ("me@example.org", "me"))
        kps = stack.given(stack.objects(), "kube-prometheus-stack")["alertmanager"]["alertmanagerSpec"]
        (mount,) = kps["volumeMounts"]
        for name in ("telegram-bot-token", "pagerduty-routing-key", "smtp-password", "webhook-url"):
            self.assertIn(f"{mount['mountPath']}/{name}", json.dumps(config), "where the Secret is mounted")

    def test_a_mail_server_without_accounts_is_asked_for_none(self):
        config = self.config({"email": EMAIL})
        self.assertFalse([key for key in config["global"] if key.startswith("smtp_auth")])

    def test_notes_name_every_key_of_the_secret_that_is_read(self):
        for receivers, keys in (
            ({"telegram": TELEGRAM, "webhook": {"enabled": True}}, ["telegram-bot-token", "webhook-url"]),
            ({"email": {**EMAIL, "username": "me"}, "pagerduty": {"enabled": True}}, ["pagerduty-routing-key", "smtp-password"]),
        ):
            notes = stack.notes(at("alerting/receivers", receivers))
            self.assertIn("weir-stack-receivers" + "".join(f" --from-literal={key}=…" for key in keys), notes)
        self.assertIn("nobody is told", stack.notes())


class Outside(unittest.TestCase):
    found = stack.ours(stack.objects(CASES["from outside"]))

    def test_each_has_tls_and_limits_and_prometheus_a_password(self):
        for part, host in (("grafana", "g.example.org"), ("prometheus", "p.example.org")):
            one = chart.one(self.found, "Ingress", f"weir-stack-{part}")
            self.assertEqual(one["spec"]["tls"], [{"hosts": [host], "secretName": f"{part[0]}-tls"}])
            said = one["metadata"]["annotations"]
            nginx = {k.split("/")[1]: v for k, v in said.items() if k.startswith("nginx.")}
            self.assertEqual(
                (nginx["limit-rps"], nginx["limit-rpm"], nginx["limit-burst-multiplier"]), ("1", "3", "4")
            )
            self.assertEqual(nginx.get("auth-secret"), "auth" if part == "prometheus" else None)
            self.assertEqual(said["cert-manager.io/cluster-issuer"], "letsencrypt-prod")
            denied = chart.one(self.found, "Ingress", f"weir-stack-{part}-metrics-denied")
            self.assertEqual(denied["metadata"]["annotations"]["nginx.ingress.kubernetes.io/whitelist-source-range"], "127.0.0.1/32")
            (path,) = denied["spec"]["rules"][0]["http"]["paths"]
            self.assertEqual((path["path"], path["pathType"]), ("/metrics", "Prefix"))

    def test_another_class_is_warned_of(self):
        self.assertIn("nobody is asked for Prometheus' password", stack.notes(CASES["from outside"]))

    def test_no_snippet_is_needed(self):
        for one in self.found:
            self.assertFalse(one["kind"] == "Ingress" and "snippet" in json.dumps(one), one["metadata"]["name"])


class Backup(unittest.TestCase):
    found = stack.ours(stack.objects(CASES["backup"]))

    def test_each_part_has_a_job_that_runs_and_one_that_waits(self):
        jobs = {o["metadata"]["name"]: o["spec"] for o in self.found if o["kind"] == "CronJob"}
        names = {f"weir-stack-backup-{p}" for p in ("grafana", "prometheus", "loki", "postgres", "keys")}
        names |= {f"weir-stack-restore-{p}" for p in ("grafana", "prometheus", "loki", "postgres")}
        self.assertEqual(set(jobs), names)
        for name, spec in jobs.items():
            self.assertEqual(spec["suspend"], "restore" in name)
            self.assertEqual(spec["concurrencyPolicy"], "Forbid")
            pod = spec["jobTemplate"]["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertFalse(pod["automountServiceAccountToken"])
            self.assertEqual(container["command"][1:], [f"/opt/backup/{name.split('-')[2]}.sh", name.split("-")[3]])

    def test_jobs_name_only_variables_that_the_scripts_read(self):
        for one in self.found:
            if one["kind"] != "CronJob":
                continue
            verb = one["metadata"]["name"].split("-")[2]
            script = (chart.DEPLOY / f"backup/{verb}.sh").read_text()
            (container,) = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
            for variable in container["env"]:
                # libpq's own.
                if variable["name"] not in ("PGHOST", "PGPORT", "PGUSER"):
                    self.assertIn(variable["name"], script)

    def test_archives_outlive_the_release(self):
        for one in self.found:
            if one["kind"] == "PersistentVolumeClaim":
                self.assertEqual(one["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_the_alerts_ask_for_what_is_pushed(self):
        rules = (chart.DEPLOY / "rules/alerts-cluster.yaml").read_text()
        script = (chart.DEPLOY / "backup/backup.sh").read_text()
        self.assertIn("weir_stack_backup_last_${what}_timestamp_seconds", script)
        for what in ("success", "failure"):
            self.assertIn(f"weir_stack_backup_last_{what}_timestamp_seconds", rules)
        monitor = chart.one(self.found, "ServiceMonitor", "pushgateway")
        self.assertTrue(monitor["spec"]["endpoints"][0]["honorLabels"])


if __name__ == "__main__":
    unittest.main()

"""The stack on one machine: docker compose reads it, and what it names is there.

With the real docker compose, which PyPI has as a package; nothing is started.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

import chart
from kustomize_test import read

FOLDER = chart.DEPLOY / "compose"
COMPOSE = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
# Folders of the user's.
USERS = {"/var/log/nginx", str(FOLDER / "secrets"), str(FOLDER / "backup")}


def compose(*args, **variables):
    return subprocess.run(
        [COMPOSE, "-f", str(FOLDER / "compose.yaml"), *args],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def config(**variables):
    done = compose("--profile", "*", "config", "--format", "json", **variables)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


class Compose(unittest.TestCase):
    whole = config()

    def test_everything_but_backups_starts_by_itself(self):
        services = set(json.loads(compose("config", "--format", "json").stdout)["services"])
        self.assertEqual(services, {"weir", "prometheus", "alertmanager", "loki", "grafana", "pushgateway"})
        self.assertEqual(set(self.whole["services"]) - services, {"backup", "restore"})

    def test_an_unknown_key_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            wrong = Path(folder) / "compose.yaml"
            wrong.write_text((FOLDER / "compose.yaml").read_text().replace("stop_grace_period: 60s", "stop_grace: 60s"))
            done = subprocess.run([COMPOSE, "-f", str(wrong), "config", "-q"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("stop_grace", done.stderr)

    def test_every_mounted_file_is_there_and_every_volume_declared(self):
        for name, service in self.whole["services"].items():
            for volume in service.get("volumes", []):
                if volume["type"] == "volume":
                    self.assertIn(volume["source"], self.whole["volumes"], name)
                elif volume["source"] not in USERS:
                    self.assertTrue(Path(volume["source"]).exists(), volume["source"])
                    self.assertTrue(volume["read_only"], f"{name} may write to {volume['source']}")

    def test_variables_change_what_they_say(self):
        with tempfile.TemporaryDirectory() as folder:
            mine = Path(folder) / "alertmanager.yml"
            mine.write_text("")
            whole = config(
                NGINX_LOGS="/srv/logs",
                GRAFANA_PASSWORD="p",
                ALERTMANAGER_CONFIG=str(mine),
                ALERTMANAGER_SECRETS="/srv/secrets",
                BACKUP_DIR="/mnt/backup",
                NODE_NAME="web1",
            )["services"]
        text = json.dumps(whole)
        for value in ("/srv/logs", str(mine), "/srv/secrets", "/mnt/backup"):
            self.assertIn(f'"source": "{value}"', text)
        self.assertEqual(whole["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"], "p")
        self.assertEqual(whole["weir"]["environment"]["NODE_NAME"], "web1")
        # The head of the file says them all.
        named = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
        head = (FOLDER / "compose.yaml").read_text().split("name: weir-stack")[0]
        for name in named - {"NODE_NAME"}:
            self.assertIn(name, head)

    def test_ports_are_on_the_loopback_only(self):
        for name, service in self.whole["services"].items():
            for port in service.get("ports", []):
                self.assertEqual(port["host_ip"], "127.0.0.1", name)

    def test_each_runs_with_nothing_it_can_do_without(self):
        for name, service in self.whole["services"].items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
        self.assertEqual(self.whole["services"]["weir"]["cap_add"], ["DAC_READ_SEARCH"])

    def test_images_are_those_of_the_kustomization(self):
        pinned = {i["name"]: i for i in read(chart.DEPLOY / "kustomize/stack/kustomization.yaml")["images"]}
        seen = set()
        for name, service in self.whole["services"].items():
            image = service["image"]
            self.assertRegex(image, r":[a-z0-9.-]+(@sha256:[0-9a-f]{64})?$", name)
            of = pinned.get(re.split("[:@]", image)[0])
            if of:
                digest = f"@{of['digest']}" if "digest" in of else ""
                self.assertEqual(image, f"{of['name']}:{of['newTag']}{digest}")
                seen.add(of["name"])
        self.assertEqual(len(seen), 4)
        about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual(self.whole["services"]["weir"]["image"], f"ghcr.io/weir/weir:{about['appVersion']}")
        values = yaml.safe_load((chart.DEPLOY / "helm/weir-stack/values.yaml").read_text())
        self.assertIn(values["backup"]["image"]["tag"], self.whole["services"]["backup"]["image"])

    def test_addresses_lead_to_services(self):
        ports = {"weir": 9080, "prometheus": 9090, "alertmanager": 9093, "loki": 3100, "grafana": 3000, "pushgateway": 9091}
        texts = [json.dumps(self.whole)]
        for service in self.whole["services"].values():
            for volume in service.get("volumes", []):
                path = Path(volume["source"])
                if volume["type"] == "bind" and path.suffix in (".yaml", ".yml") and path.is_file():
                    texts.append(path.read_text())
        for text in texts:
            for host, port in re.findall(r"(?:http://|targets: \[)([a-z]+):(\d+)", text):
                if host != "localhost":
                    self.assertEqual(int(port), ports.get(host), host)

    def test_scripts_read_the_variables_that_they_get(self):
        for name in ("backup", "restore"):
            script = (chart.DEPLOY / f"backup/{name}.sh").read_text() + (chart.DEPLOY / "backup/backup.sh").read_text()
            for variable in self.whole["services"][name]["environment"]:
                self.assertIn(variable, script)


class Configurations(unittest.TestCase):
    def test_the_agents_stages_are_those_of_the_shipped_configuration(self):
        # By text, without indents: both have variables, which are no YAML.
        shipped = [line.strip() for line in (chart.ROOT / "config/kubernetes.yaml").read_text().splitlines()]
        ours = [line.strip() for line in (FOLDER / "weir.yaml").read_text().splitlines()]

        def between(lines, first, last):
            start = lines.index(first)
            return lines[start : lines.index(last, start) + 1 if last in lines[start:] else len(lines)]

        for first, last in (("- ingress_nginx:", "source: private_client"), ("- modsecurity:", "source: blocked_transaction")):
            self.assertEqual(between(ours, first, last), between(shipped, first, last))
            self.assertGreater(len(between(ours, first, last)), 20)

    def test_weir_reads_its_configuration(self):
        said = chart.weir_check((FOLDER / "weir.yaml").read_text(), LOKI_URL="http://loki:3100/push", WEIR_GEOIP_DB="")
        if said is None:
            self.skipTest("WEIR_BIN names no binary")
        self.assertIn("0 errors, 0 warnings", said)

    @unittest.skipIf(shutil.which("promtool") is None, "no promtool")
    def test_promtool_has_nothing_against_prometheus_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            text = (FOLDER / "prometheus.yml").read_text().replace("/etc/prometheus/rules", str(chart.DEPLOY / "rules"))
            (Path(folder) / "prometheus.yml").write_text(text)
            done = subprocess.run(
                ["promtool", "check", "config", f"{folder}/prometheus.yml"], capture_output=True, text=True, timeout=60
            )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("rules found", done.stdout)


if __name__ == "__main__":
    unittest.main()

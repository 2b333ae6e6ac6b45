"""What docs/migrate-from-promtail.md promises: positions are taken over, names are kept, tables name what is there."""

import os
import re
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import helm_python as helm
import yaml

import chart
from hardened import free_port

PAGE = (chart.ROOT / "docs/migrate-from-promtail.md").read_text()
METRICS = set(re.findall(r"^\| `(\w+)`", (chart.ROOT / "docs/metrics.md").read_text(), re.M))
POD = "shop_web-0_585292d4-f356-4406-a41a-4d8a2e980002/app/0.log"
# A configuration of Promtail's with nothing of weir's in it.
CONFIG = """\
server: {{http_listen_port: {port}, grpc_listen_port: 0}}
positions: {{filename: {folder}/run/positions.yaml}}
scrape_configs:
  - job_name: pods
    static_configs:
      - targets: [localhost]
        labels: {{job: pods, __path__: {folder}/pods/*/*/*.log}}
    pipeline_stages:
      - cri: {{}}
      - metrics:
          lines_total: {{type: Counter, config: {{match_all: true, action: inc}}}}
limits_config: {{}}
tracing: {{enabled: false}}
"""


def lines(first, last):
    return "".join(f"2026-11-21T02:00:{n:02}.000000000Z stdout F {n}\n" for n in range(first, last))


@unittest.skipUnless(os.environ.get("WEIR_BIN"), "WEIR_BIN names no binary")
class Replaced(unittest.TestCase):
    def run_once(self, folder, wanted):
        """Runs weir with Promtail's arguments until it has counted; the page of metrics."""
        port = free_port()
        (folder / "promtail.yaml").write_text(CONFIG.format(port=port, folder=folder))
        agent = subprocess.Popen(
            [Path(os.environ["WEIR_BIN"]).resolve(), f"-config.file={folder}/promtail.yaml"],
            env={"HOSTNAME": "node-a"},
            stderr=subprocess.PIPE,
            text=True,
        )
        page = ""
        try:
            until = time.monotonic() + 30
            while f'weir_lines_read_total{{job="pods"}} {wanted}\n' not in page:
                self.assertLess(time.monotonic(), until, page)
                self.assertIsNone(agent.poll())
                time.sleep(0.1)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                        page = answer.read().decode()
                except OSError:
                    pass
        finally:
            agent.terminate()
            said = agent.communicate(timeout=30)[1]
        self.assertEqual(agent.returncode, 0, said)
        return page, said

    def test_it_goes_on_where_promtail_stopped_and_leaves_its_positions_alone(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            log = folder / "pods" / POD
            log.parent.mkdir(parents=True)
            log.write_text(lines(0, 10))
            (folder / "run").mkdir()
            positions = f'positions:\n  {log}: "{log.stat().st_size}"\n'
            (folder / "run/positions.yaml").write_text(positions)
            with log.open("a") as file:
                file.write(lines(10, 15))
            page, said = self.run_once(folder, 5)
            self.assertIn("positions taken over", said)
            series = re.search(r"^promtail_custom_lines_total\{(.*)\} 5$", page, re.M)[1]
            self.assertEqual(set(re.findall(r"(\w+)=", series)), {"filename", "job", "stream"})
            for kept in ("promtail_build_info", "promtail_files_active_total", "promtail_targets_active_total"):
                self.assertRegex(page, rf"(?m)^{kept}(\{{| )")
            with log.open("a") as file:
                file.write(lines(15, 17))
            page, _ = self.run_once(folder, 7)
            self.assertRegex(page, r"(?m)^promtail_custom_lines_total\{.*\} 7$")
            self.assertEqual((folder / "run/positions.yaml").read_text(), positions)
            self.assertTrue((folder / "run/weir-state").is_dir())


class Page(unittest.TestCase):
    def rows(self, heading):
        """Names in the first and in the last cell of the rows under a heading row."""
        table = PAGE.split(heading)[1].split("\n\n")[0]
        rows = [row.strip("| ").split(" | ") for row in table.splitlines() if row.startswith("| `")]
        names = [[re.findall(r"`([a-z_]+)`", cell) for cell in row] for row in rows]
        self.assertTrue(names)
        return names

    def test_names_that_are_kept_are_those_that_are_there(self):
        kept = {name for row in self.rows("| kept | |") for name in row[0]}
        kept = {name for name in kept if name.startswith(("promtail_", "logentry_", "process_"))}
        self.assertEqual(kept, {name for name in METRICS if not name.startswith("weir_")})

    def test_names_that_are_gone_are_gone_and_what_replaces_them_is_there(self):
        for row in self.rows("| gone | instead |"):
            self.assertEqual([n for n in row[0] if n in METRICS and n.startswith("promtail")], [])
            self.assertEqual([n for n in row[-1] if n.startswith("weir_") and n not in METRICS], [])
        named = set(re.findall(r"\b(weir_\w+)", PAGE))
        self.assertEqual({n for n in named if n not in METRICS}, set())

    def test_the_kept_values_of_the_promtail_chart_are_values_of_this_one(self):
        table = (chart.CHART / "values-from-promtail.md").read_text()
        values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
        checked = 0
        for ours in re.findall(r"^\| .+? \| (.+) \|$", table, re.M):
            for name in re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z_]+)*)`", ours):
                inner, path = values, name.split(".")
                if path[0] == "extraConfig":
                    path = path[:1]
                for part in path:
                    self.assertIn(part, inner, f"values-from-promtail.md names {name}")
                    inner = inner[part]
                checked += 1
        self.assertGreater(checked, 20)

    def test_values_that_are_called_the_same_are_taken(self):
        # As in values files of the promtail chart.
        helm_values = {
            "image": {"registry": "docker.io", "tag": "3"},
            "imagePullSecrets": [{"name": "a"}],
            "priorityClassName": "high",
            "rbac": {"create": True},
            "serviceAccount": {"create": True, "name": "promtail", "annotations": {"a": "b"}},
            "podSecurityContext": {"runAsUser": 0, "runAsGroup": 0},
            "containerSecurityContext": {
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "allowPrivilegeEscalation": False,
            },
            "tolerations": [{"operator": "Exists"}],
            "httpPathPrefix": "",
            "extraArgs": [],
            "updateStrategy": {},
            "defaultVolumes": [{"name": "pods", "hostPath": {"path": "/var/log/pods"}}],
            "defaultVolumeMounts": [{"name": "pods", "mountPath": "/var/log/pods", "readOnly": True}],
            "serviceMonitor": {"enabled": True, "labels": {"release": "kps"}, "interval": "30s"},
            "networkPolicy": {"enabled": True, "metrics": {"cidrs": ["10.0.0.0/8"]}},
        }
        self.assertEqual(chart.faults(chart.objects(helm_values)), [])
        with self.assertRaises(helm.HelmError) as refused:
            chart.render(
                {
                    "config": {"clients": [], "snippets": {}},
                    "daemonset": {"enabled": True},
                    "configmap": {"enabled": True},
                }
            )
        self.assertEqual(str(refused.exception).count("\n  - "), 3)


if __name__ == "__main__":
    unittest.main()

"""An hour of ordinary traffic wakes nobody, and the same hour with an attack in it does.

The agent and Prometheus' own rule engine are real: WEIR_BIN reads the corpus' lines, promtool evaluates every rule each
minute. hour.py says how lines become series.
"""

import os
import shutil
import tempfile
import unittest
from pathlib import Path

import yaml

import hour
import rules_test

ATTACKER = b"203.0.113.66"
# What the neighbours of weir say in an hour in which nothing happens.
AROUND = {
    'kube_daemonset_status_desired_number_scheduled{namespace="weir",daemonset="weir"}': [2],
    'kube_daemonset_status_number_ready{namespace="weir",daemonset="weir"}': [2],
    'kube_pod_container_status_restarts_total{namespace="shop",pod="web-0",container="web"}': [3],
    'weir_stack_backup_last_success_timestamp_seconds{component="grafana"}': [0],
    'weir_stack_backup_last_failure_timestamp_seconds{component="grafana"}': [-86400],
    'up{job="weir",instance="node-1"}': [1],
    'up{job="weir",instance="node-2"}': [1],
}
FIRED = 'group by (alertname, client_ip) (last_over_time(ALERTS{alertstate="firing"}[2h]))'


def number(value):
    return value if isinstance(value, str) else repr(int(value)) if value == int(value) else repr(value)


def series_of(nodes):
    """The input of promtool for the records of each node."""
    found = {name: values * (hour.MINUTES + 1) for name, values in AROUND.items()}
    for at, records in enumerate(nodes, start=1):
        found |= hour.scraped(records, f"node-{at}", os.environ["WEIR_BIN"])
    return [{"series": name, "values": " ".join(map(number, values))} for name, values in found.items()]


def evaluate(series, **expected):
    """What promtool says to a test of all rules over the hour."""
    document = {
        "rule_files": [str(path) for path in rules_test.PROMETHEUS],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, **expected}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hour.yaml")
        path.write_text(yaml.safe_dump(document, width=1 << 20))
        return rules_test.promtool("test", "rules", path)


def fired(alerts):
    """Exactly these have fired at some minute; the others never."""
    labels = [", ".join(f'{label}="{value}"' for label, value in alert.items()) for alert in alerts]
    samples = [{"labels": f"{{{text}}}", "value": 1} for text in labels]
    return [{"expr": FIRED, "eval_time": f"{hour.MINUTES}m", "exp_samples": samples}]


@unittest.skipUnless(os.environ.get("WEIR_BIN"), "WEIR_BIN names no binary")
@unittest.skipUnless(shutil.which("promtool"), "no promtool: apt-get install prometheus")
class Hour(unittest.TestCase):
    maxDiff = None

    def assert_passes(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assert_silent(self, files):
        nodes = [hour.ordinary(hour.records(paths)) for paths in files]
        requests = sum(record.stream == "stdout" for records in nodes for record in records)
        self.assertGreater(requests, 700)
        names = {rule["alert"] for rule in rules_test.rules(rules_test.PROMETHEUS) if "alert" in rule}
        at_the_end = [{"eval_time": f"{hour.MINUTES}m", "alertname": name, "exp_alerts": []} for name in sorted(names)]
        self.assert_passes(evaluate(series_of(nodes), alert_rule_test=at_the_end, promql_expr_test=fired([])))

    def test_an_hour_of_ordinary_traffic_wakes_nobody(self):
        self.assert_silent(hour.excerpt())

    @unittest.skipUnless(hour.CORPUS.is_dir(), "no whole corpus at target/corpus/dev")
    def test_an_hour_of_the_whole_corpus_ordinary_traffic_wakes_nobody(self):
        self.assert_silent(hour.whole())

    def test_an_attack_in_it_is_seen(self):
        """Real lines of the corpus, as if one address had sent them at once: answers 401, and requests that the WAF
        blocked. Nothing came of that address before: that its series begin at 0 is what makes them count."""
        nodes = [hour.records(paths) for paths in hour.excerpt()]
        refused = [r for records in nodes for r in records if b'"status": 401,' in r.text and b'"vaultwarden"' in r.text]
        blocked = [r for r in nodes[1] if hour.is_waf(r) and b"Access denied" in r.text and b"server: shop." in r.text]
        self.assertGreater(len(refused), 10)
        self.assertGreater(len(blocked), 10)
        attack = [hour.of_another(record, ATTACKER, 30) for record in 2 * refused + blocked]
        ordinary = [hour.ordinary(records) for records in nodes]
        series = series_of([ordinary[0], ordinary[1] + attack])
        wanted = [{"alertname": name, "client_ip": ATTACKER.decode()} for name in ("IngressBruteForce", "WafClientBlocked")]
        self.assert_passes(evaluate(series, promql_expr_test=fired(wanted)))


if __name__ == "__main__":
    unittest.main()

"""The rules: what they name exists, what they say is documented, they fire and stay silent as their tests say.

promtool (Debian's prometheus) reads them; without it that part is left out. What a whole hour of traffic does is in
hour_test.py.
"""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import chart

RULES = chart.DEPLOY / "rules"
PROMETHEUS = sorted(RULES.glob("*.yaml"))
LOKI = RULES / "loki/waf.yaml"
TESTS = sorted((RULES / "tests").glob("*.yaml"))
RUNBOOKS = chart.ROOT / "docs/runbooks"
URL = "https://github.com/weir/weir/blob/main/docs/runbooks/"
SEVERITIES = {"critical", "warning", "info"}
# Metrics of others, and their labels.
FOREIGN = {
    "up": {"job", "instance"},
    "kube_pod_container_status_restarts_total": {"namespace", "pod", "container"},
    "kube_daemonset_status_desired_number_scheduled": {"namespace", "daemonset"},
    "kube_daemonset_status_number_ready": {"namespace", "daemonset"},
    # deploy/helm/weir-stack and deploy/kustomize/stack.
    "weir_stack_backup_last_success_timestamp_seconds": {"component"},
    "weir_stack_backup_last_failure_timestamp_seconds": {"component"},
}
# Of every target: with honorLabels a job of weir_lines_read_total is the job of weir's configuration.
TARGET_LABELS = {"job", "instance"}
GROUPING = re.compile(r"\b(?:by|on|group_left|without|ignoring) ?\(([^)]*)\)")
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


def rules(paths):
    return [rule for path in paths for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules([*PROMETHEUS, LOKI]) if "alert" in rule]


def names():
    return {rule["alert"] for rule in alerts()}


def queries(rule):
    """The expressions of a rule, and of its texts; label values of the alert stand as %q there."""
    texts = " ".join(rule.get("annotations", {}).values())
    return [rule["expr"], *re.findall(r"(?:printf|query) `([^`]*)`", texts)]


def bare(expr):
    """An expression without strings and comments."""
    return re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|%q", '""', expr)


def selected(expr):
    """The metrics that an expression names, each with the labels that it asks them for."""
    text = GROUPING.sub("", bare(expr))
    found = {}
    for name, matchers in re.findall(r"(?<![\w:])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\w|\s*\()", text):
        if name not in WORDS and not re.fullmatch(r"\d+[smhdw]|[smhdw]", name):
            found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    return found


def grouped(expr):
    """The labels that an expression groups or joins by."""
    return {
        label.strip()
        for labels in GROUPING.findall(bare(expr))
        for label in labels.split(",")
        if label.strip()
    }


def shipped():
    """The metrics that weir has, and their labels: its own, and those that the shipped configuration counts."""
    found = {}
    table = (chart.ROOT / "docs/metrics.md").read_text().split("<!-- end -->")[0]
    for name, labels in re.findall(r"(?m)^\| `(\w+)` \| (.*?) \|", table):
        found[name] = set(re.findall(r"`(\w+)`", labels))
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (chart.ROOT / "config/kubernetes.yaml").read_text())
    stack = [yaml.safe_load(text)]
    while stack:
        at = stack.pop()
        for metric, definition in (at.get("metrics") or {}).items() if isinstance(at, dict) else ():
            name, labels = definition["prefix"] + metric, set(definition["labels"])
            endings = ("_bucket", "_sum", "_count") if definition["type"] == "Histogram" else ("",)
            found.update({name + end: labels | ({"le"} if end == "_bucket" else set()) for end in endings})
        stack += list(at.values()) if isinstance(at, dict) else at if isinstance(at, list) else []
    return found


def recorded():
    """The metrics that the rules record, and the labels that their level names."""
    every = set().union(*shipped().values())
    found = {}
    for rule in rules(PROMETHEUS):
        if "record" in rule:
            level = rule["record"].split(":")[0]
            found[rule["record"]] = {label for label in every if label in level} - {"le"}
    return found


def page_queries():
    """Every query for Prometheus on a runbook page, one a line, with the page's name."""
    for path in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.S):
            yield from ((path.name, line) for line in block.splitlines() if line)


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=1200)


needs_promtool = unittest.skipUnless(shutil.which("promtool"), "no promtool: apt-get install prometheus")


class Shape(unittest.TestCase):
    @needs_promtool
    def test_promtool_takes_them(self):
        done = promtool("check", "rules", "--lint=all", "--lint-fatal", *PROMETHEUS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_recorded_name_is_level_metric_operations(self):
        known = shipped()
        for rule in rules(PROMETHEUS):
            if "record" in rule:
                with self.subTest(rule["record"]):
                    level, metric, operations = rule["record"].split(":")
                    self.assertRegex(operations, r"^(ratio_|p99_)?rate\d+[mhd]$")
                    self.assertTrue(any(name.startswith(metric) for name in known) or metric == "weir_http_errors")
                    self.assertTrue(level == "cluster" or recorded()[rule["record"]], level)

    def test_every_alert_has_its_labels_and_texts(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], SEVERITIES)
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertEqual(rule["annotations"]["runbook_url"], f"{URL}{rule['alert']}.md")

    def test_an_alerts_text_names_what_its_labels_say(self):
        kept = {"client_ip", "client", "rule_id", "ingress", "instance", "pod", "component", "server"}
        for rule in alerts():
            texts = rule["annotations"]["summary"] + rule["annotations"]["description"]
            first = re.match(r"\s*\(?\s*(?:sum|count|max)? ?by ?\(([^)]*)\)|\s*(?:sum|count) by \(([^)]*)\)", rule["expr"])
            labels = set(re.findall(r"\w+", (first[1] or first[2]) if first else ""))
            for label in labels & kept:
                with self.subTest(rule["alert"], label=label):
                    self.assertIn(f"$labels.{label}", texts)

    def test_lokis_rules_have_lokis_shape(self):
        """No ruler is here to read them: what it needs, and that their expressions are of Go's kind."""
        document = yaml.safe_load(LOKI.read_text())
        self.assertEqual(set(document), {"groups"})
        for group in document["groups"]:
            self.assertEqual(set(group), {"name", "interval", "rules"})
            for rule in group["rules"]:
                with self.subTest(rule["alert"]):
                    self.assertLessEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"})
                    self.assertEqual(rule["expr"].count("("), rule["expr"].count(")"))
                    self.assertRegex(rule["expr"], r'\{namespace="ingress-nginx", container="controller", stream="std(out|err)"\}')
                    self.assertRegex(rule["expr"], r"\[\d+[mh]\]")
                    for pattern in re.findall(r"regexp `([^`]*)`", rule["expr"]):
                        re.compile(pattern)
                        self.assertNotRegex(pattern, r"\(\?[=!<][^P]|\\\d")


class Names(unittest.TestCase):
    def test_every_metric_and_label_exists(self):
        known = {**shipped(), **recorded(), **FOREIGN}
        for rule in rules(PROMETHEUS):
            for expr in queries(rule):
                with self.subTest(rule.get("alert") or rule["record"], expr=expr):
                    metrics = selected(expr)
                    self.assertTrue(metrics)
                    self.assertEqual(set(metrics) - set(known), set())
                    for metric, labels in metrics.items():
                        self.assertEqual(labels - known[metric] - TARGET_LABELS, set(), metric)
                    some = set().union(*(known[metric] for metric in metrics))
                    self.assertEqual(grouped(expr) - some - TARGET_LABELS, set())

    def test_the_reading_of_expressions_sees_names(self):
        expr = 'sum by (a, b) (rate(x_total{c=~"d|sum",e!=""}[5m])) / on (a) group_left () (y:z:rate5m offset 1h > 0.2)'
        self.assertEqual(selected(expr), {"x_total": {"c", "e"}, "y:z:rate5m": set()})
        self.assertEqual(grouped(expr), {"a", "b"})

    def test_recorded_metrics_are_used_or_documented(self):
        page = (chart.ROOT / "docs/alerts.md").read_text()
        for name in recorded():
            self.assertIn(f"`{name}`", page)


class Documents(unittest.TestCase):
    PAGE = chart.ROOT / "docs/alerts.md"

    def table(self):
        rows = {}
        row = r"(?m)^\| \[(\w+)\]\(.*?\) \| (.*?) \| (.*?) \| (.*) \|$"
        for name, severity, when, why in re.findall(row, self.PAGE.read_text()):
            rows.setdefault(name, []).append((severity, re.findall(r"`([^`]*)`", when), why))
        return rows

    def test_the_table_of_thresholds_is_what_the_rules_say(self):
        stated = {name: [(severity, set(when)) for severity, when, _ in rows] for name, rows in self.table().items()}
        actual = {}
        for rule in alerts():
            expr = bare(rule["expr"]).replace('""', "")
            numbers = re.findall(r"(?:==|>=|<=|>|<)\s*[\d.]+(?: \* \d+)*", expr)
            windows = re.findall(r"\[\d+[smhd]\]|offset \d+[smhd]|_rate\d+[smhd]\b", expr)
            waits = [f"for {rule['for']}"] if "for" in rule else []
            when = {re.sub(r"\s+", " ", part).removeprefix("_") for part in numbers + windows + waits}
            actual.setdefault(rule["alert"], []).append((rule["labels"]["severity"], when))
        self.assertEqual(stated, actual)

    def test_every_threshold_has_its_reason(self):
        for name, rows in self.table().items():
            for _, _, why in rows:
                self.assertGreater(len(why.split()), 5, name)

    def test_every_alert_has_its_page_and_no_other_is_there(self):
        pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
        self.assertEqual(pages, names())
        index = (RUNBOOKS / "README.md").read_text()
        self.assertEqual(set(re.findall(r"\]\((\w+)\.md\)", index)), names())

    def test_a_page_says_what_to_do_at_night(self):
        for name in names():
            text = (RUNBOOKS / f"{name}.md").read_text()
            with self.subTest(name):
                self.assertTrue(text.startswith(f"# {name}\n"))
                for part in ("## Look first", "## Do", "## Silence or tune"):
                    self.assertIn(f"\n{part}\n", text)
                self.assertIn("```", text)

    def test_the_queries_of_the_pages_name_what_exists(self):
        known = {**shipped(), **recorded(), **FOREIGN}
        for page, query in page_queries():
            with self.subTest(page, query=query):
                metrics = selected(query)
                self.assertEqual(set(metrics) - set(known), set())
                for metric, labels in metrics.items():
                    self.assertEqual(labels - known[metric] - TARGET_LABELS, set())

    @needs_promtool
    def test_the_queries_of_the_pages_can_be_read(self):
        queries = sorted({query for _, query in page_queries()})
        self.assertGreater(len(queries), len(names()))
        rules_of_pages = [{"record": f"q{at}", "expr": query} for at, query in enumerate(queries)]
        document = {"groups": [{"name": "pages", "rules": rules_of_pages}]}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pages.yaml")
            path.write_text(yaml.safe_dump(document))
            done = promtool("check", "rules", path)
        self.assertEqual(done.returncode, 0, done.stderr)


class Tests(unittest.TestCase):
    def cases(self):
        for path in TESTS:
            for group in yaml.safe_load(path.read_text())["tests"]:
                for case in group["alert_rule_test"]:
                    yield group["name"], case

    @needs_promtool
    def test_each_fires_with_its_text_and_stays_silent_beside_it(self):
        done = promtool("test", "rules", *TESTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_rule_is_tried_both_ways(self):
        fired, silent = set(), set()
        for _, case in self.cases():
            if not case["exp_alerts"]:
                silent.add(case["alertname"])
            for alert in case["exp_alerts"]:
                self.assertEqual(set(alert["exp_annotations"]), {"summary", "description", "runbook_url"}, case)
                fired.add((case["alertname"], alert["exp_labels"]["severity"], alert["exp_labels"].get("window")))
        wanted = {
            (rule["alert"], rule["labels"]["severity"], rule["labels"].get("window"))
            for rule in rules(PROMETHEUS)
            if "alert" in rule
        }
        self.assertEqual(fired, wanted)
        self.assertEqual(silent, {name for name, _, _ in wanted})

    def test_a_text_that_failed_to_render_is_not_taken_for_one(self):
        for name, case in self.cases():
            for alert in case["exp_alerts"]:
                for text in alert["exp_annotations"].values():
                    self.assertNotRegex(text, r"error|<no value>|\{\{|  |%!", name)


if __name__ == "__main__":
    unittest.main()

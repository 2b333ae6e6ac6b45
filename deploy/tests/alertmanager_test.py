"""Alertmanager's configuration and the texts it sends, with its own tool.

amtool is Debian's (prometheus-alertmanager 0.25); without it that part is left out. Two settings are of 0.26 and later:
`older` writes them as 0.25 knows them.
"""

import html
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import chart
import rules_test

FOLDER = chart.DEPLOY / "alertmanager"
CONFIG = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
# What Telegram takes, and what Alertmanager would cut through the middle of a tag.
TELEGRAM_CHARACTERS_MAX = 4096
SECRETS = {"bot_token", "routing_key", "service_key", "url", "smtp_auth_password", "auth_password", "api_url"}

# What a message names of the labels, each in a line of its own.
TITLES = {
    "client_ip": "Address",
    "rule_id": "Rule",
    "ingress": "Ingress",
    "instance": "Node",
    "pod": "Pod",
    "component": "Component",
}

needs_amtool = unittest.skipUnless(shutil.which("amtool"), "no amtool: apt-get install prometheus-alertmanager")


def older(config, folder):
    """The configuration for Alertmanager 0.25: secrets in the file in place of files; templates from this repository."""
    text = yaml.safe_dump(config, sort_keys=False)
    text = re.sub(r"bot_token_file: .*", "bot_token: '1:x'", text)
    text = re.sub(r"url_file: .*", "url: http://127.0.0.1:1/", text)
    text = text.replace("/etc/alertmanager/templates/*.tmpl", str(FOLDER / "*.tmpl"))
    path = Path(folder, "alertmanager.yml")
    path.write_text(text)
    return path


def amtool(*arguments):
    return subprocess.run(["amtool", *map(str, arguments)], capture_output=True, text=True, timeout=300)


def fired():
    """Every alert as the tests of the rules have it fire first: labels and final texts, by name."""
    found = {}
    for path in rules_test.TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for case in group["alert_rule_test"]:
                for alert in case["exp_alerts"]:
                    labels = {"alertname": case["alertname"], **alert["exp_labels"]}
                    found.setdefault(case["alertname"], {"labels": labels, "annotations": alert["exp_annotations"]})
    return found


def data(alerts, status="firing"):
    """What a template is given."""
    whole = [{"status": status, "startsAt": "2026-11-21T02:25:48Z", **alert} for alert in alerts]
    common = {
        part: dict(set.intersection(*(set(alert[part].items()) for alert in alerts))) for part in ("labels", "annotations")
    }
    return {
        "receiver": "telegram",
        "status": "firing" if any(alert["status"] == "firing" for alert in whole) else "resolved",
        "alerts": whole,
        "groupLabels": {},
        "commonLabels": common["labels"],
        "commonAnnotations": common["annotations"],
        "externalURL": "http://alertmanager.example",
    }


def render(name, given, kind="text"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.json")
        path.write_text(json.dumps(given))
        done = amtool(
            "template", "render", f"--template.glob={FOLDER}/*.tmpl", f"--template.type={kind}",
            f"--template.data={path}", f'--template.text={{{{ template "{name}" . }}}}',
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def alternatives(matcher):
    """The names that a matcher of alertname is of; a name with .+ stands for all that it fits."""
    found = re.fullmatch(r'alertname\s*(?:=|=~|!=)\s*"(.*)"', matcher)
    if not found:
        return set()
    pattern = found[1]
    fitting = {name for name in rules_test.names() if re.fullmatch(pattern, name)}
    parts = re.sub(r"(\w*)\((.*)\)", lambda m: "|".join(m[1] + part for part in m[2].split("|")), pattern).split("|")
    missing = [part for part in parts if not any(re.fullmatch(part, name) for name in fitting)]
    assert not missing, f"no alert {missing}"
    return fitting


class Configuration(unittest.TestCase):
    @needs_amtool
    def test_alertmanager_takes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            done = amtool("check-config", older(CONFIG, folder))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("1 templates", done.stdout)

    def test_secrets_are_files(self):
        keys, stack = set(), [CONFIG]
        while stack:
            at = stack.pop()
            if isinstance(at, dict):
                keys |= set(at)
            stack += list(at.values()) if isinstance(at, dict) else at if isinstance(at, list) else []
        self.assertEqual(keys & SECRETS, set())
        files = set(re.findall(r"\w+_file: (\S+)", (FOLDER / "alertmanager.yml").read_text()))
        page = (chart.ROOT / "docs/alerts.md").read_text()
        for path in files:
            self.assertTrue(path.startswith("/etc/alertmanager/secrets/"), path)
            self.assertIn(f"`{Path(path).name}`", page)

    @needs_amtool
    def test_each_severity_reaches_whom_it_should(self):
        wanted = {
            "critical": ["pagerduty", "telegram", "email", "webhook"],
            "warning": ["telegram", "email", "webhook"],
            "info": ["telegram-silent", "webhook"],
        }
        self.assertEqual(set(wanted), rules_test.SEVERITIES)
        with tempfile.TemporaryDirectory() as folder:
            path = older(CONFIG, folder)
            for severity, receivers in wanted.items():
                done = amtool("config", "routes", "test", f"--config.file={path}", f"severity={severity}")
                self.assertEqual(done.stdout.strip().split(","), receivers, done.stderr)

    def test_what_is_inhibited_exists_and_shares_its_labels(self):
        alerts = fired()
        for rule in CONFIG["inhibit_rules"]:
            with self.subTest(rule=rule):
                sources, targets = (
                    set().union(*(alternatives(matcher) for matcher in rule[side]))
                    for side in ("source_matchers", "target_matchers")
                )
                # Equal labels that neither has are equal: the rule would hold for all there is.
                for name in (sources | targets) & set(alerts):
                    self.assertLessEqual(set(rule.get("equal", [])), set(alerts[name]["labels"]), name)


@needs_amtool
class Texts(unittest.TestCase):
    def test_telegram_names_the_alert_where_it_is_and_what_to_do(self):
        for name, alert in fired().items():
            with self.subTest(name):
                text = render("weir.telegram", data([alert]), "html")
                plain = html.unescape(re.sub(r"<[^>]*>", "", text))
                labels = alert["labels"]
                self.assertIn(f"{name} ({labels['severity']})\n", plain)
                for label, title in TITLES.items():
                    if label in labels:
                        value = f"{labels['namespace']}/{labels[label]}" if label in ("ingress", "pod") else labels[label]
                        self.assertIn(f"{title}: {value}\n", plain)
                self.assertIn(alert["annotations"]["summary"], plain)
                self.assertIn(f'<a href="{rules_test.URL}{name}.md">', text)
                self.assertLessEqual(set(re.findall(r"<(/?\w+)", text)), {"b", "/b", "a", "/a"})

    def test_the_waf_alert_names_the_rule_and_the_brute_force_alert_the_ingress(self):
        blocked = render("weir.telegram", data([{**fired()["WafClientBlocked"]}]), "html")
        self.assertRegex(blocked, r"942100[\s\S]*Address: 203.0.113.7\n")
        self.assertRegex(render("weir.telegram", data([fired()["WafRuleFalsePositiveSuspect"]]), "html"), r"Rule: 941100\n")
        self.assertIn("Ingress: vault/vaultwarden", render("weir.telegram", data([fired()["IngressBruteForce"]]), "html"))

    def test_hostile_labels_stay_text(self):
        alert = fired()["WafClientBlocked"]
        self.assertEqual(alert["labels"]["ingress"], "shop-web")
        hostile = json.loads(json.dumps(alert).replace("shop-web", "<b>&</a>"))
        text = render("weir.telegram", data([hostile]), "html")
        self.assertEqual(re.findall(r"<(/?\w+)", text), ["b", "/b", "b", "/b", "a", "/a"])

    def test_telegram_takes_the_longest_message(self):
        longest = sorted(fired().values(), key=lambda alert: -len(alert["annotations"]["description"]))[0]
        long = {
            "labels": {**longest["labels"], "ingress": "i" * 63, "namespace": "n" * 63, "instance": "node" * 15},
            "annotations": {**longest["annotations"], "description": "x" * 2000, "summary": "y" * 500},
        }
        alerts = data([long] * 20)
        alerts["alerts"] += data([long] * 20, "resolved")["alerts"]
        text = render("weir.telegram", alerts, "html")
        self.assertLessEqual(len(text), TELEGRAM_CHARACTERS_MAX)
        self.assertIn("and 16 more", text)
        self.assertIn("RESOLVED (20)", text)

    def test_mail_and_titles(self):
        alert = fired()["IngressBruteForce"]
        self.assertEqual(
            render("weir.title", data([alert])).strip(),
            f"FIRING IngressBruteForce: {alert['annotations']['summary']}",
        )
        self.assertEqual(
            render("weir.title", data([alert, fired()["WeirDown"]], "resolved")).strip(), "RESOLVED alerts (2)"
        )
        text = render("weir.text", data([alert]))
        self.assertIn(f"What to do: {rules_test.URL}IngressBruteForce.md\nSince 2026-11-21 02:25:48 UTC\n", text)


if __name__ == "__main__":
    unittest.main()

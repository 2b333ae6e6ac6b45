"""The commands of the pages: their files are there, their flags are the tool's, what they name is made by what they install.

As far as this goes without a cluster: helm's lines are rendered with exactly their values, kubectl's and docker compose's
flags are looked up in the tools' own help, kustomizations are built.
"""

import functools
import re
import shlex
import shutil
import subprocess
import unittest

import yaml

import chart
import stack
import stack_checks as checks
from compose_test import COMPOSE
from kustomize_test import build, builder
from stack_cases import CASES

PAGES = ["deploy/README.md", "docs/backup.md"]
# helm is not on the machine that tests: its flags, as `helm help` of version 3 and 4 has them.
HELM = {
    "install": {"--namespace", "--create-namespace", "--values", "--set", "-n", "-f", "--set-file"},
    "upgrade": {"--namespace", "--reuse-values", "--values", "--set", "-n", "-f", "--install"},
    "dependency": set(),
    "repo": set(),
}
# Made by the user, in the lines themselves.
THEIRS = {"restore-grafana", "restore-prometheus", "restore-postgres", "first-backup-of-grafana"}


def lines():
    """Every command of the pages: (page, words). A line may hold two, joined by &&."""
    for page in PAGES:
        text = (chart.ROOT / page).read_text()
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S)
        inline = [code.replace("\n", " ") for code in re.findall(r"`((?:helm|kubectl|docker)\s[^`]*)`", text)]
        for line in [line for block in blocks for line in block.splitlines()] + inline:
            for part in line.split("&&"):
                words = shlex.split(part)
                if len(words) > 2 and "…" not in words[2]:
                    yield page, words


def commands(tool):
    return [(page, words) for page, words in lines() if words[0] == tool]


def as_value(text):
    return {"true": True, "false": False}.get(text, int(text) if re.fullmatch(r"-?\d+", text) else text)


def values_of(words):
    """The values that a line of helm sets."""
    values = {}
    for flag, value in zip(words, words[1:]):
        if flag in ("--values", "-f"):
            values = stack.merged(values, yaml.safe_load((chart.ROOT / value).read_text()))
        elif flag == "--set":
            path, given = value.split("=", 1)
            values = stack.merged(values, stack.at(path.replace(".", "/"), as_value(given)))
    return values


def flags(words):
    return {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}


@functools.cache
def help_of(*command):
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


class Pages(unittest.TestCase):
    def test_there_are_commands_of_each_tool(self):
        for tool, least in (("helm", 4), ("kubectl", 12), ("docker", 4)):
            self.assertGreaterEqual(len(commands(tool)), least, tool)

    def test_each_way_is_at_most_three_commands(self):
        text = (chart.DEPLOY / "README.md").read_text()
        for way in ("With Helm", "With kustomize", "With docker compose"):
            block = re.search(rf"## {way}\n\n```sh\n(.*?)```", text, re.S)[1]
            self.assertLessEqual(len(block.strip().splitlines()), 3, way)

    def test_named_files_and_links_are_there(self):
        for page in PAGES:
            path = chart.ROOT / page
            for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
                if not link.startswith("http"):
                    self.assertTrue((path.parent / link).exists(), f"{page}: {link}")
            for file in re.findall(r"\bdeploy/[\w./-]+", path.read_text()):
                self.assertTrue((chart.ROOT / file.rstrip(".")).exists(), f"{page}: {file}")

    def test_versions_in_the_table_are_those_of_the_chart(self):
        text = (chart.DEPLOY / "README.md").read_text()
        for dependency in stack.ABOUT["dependencies"]:
            if dependency["repository"].startswith("http"):
                self.assertIn(f"| {dependency['name']} | {dependency['version']} |", text)
                self.assertIn(dependency["repository"], re.sub(r"\s+", " ", text))


class Helm(unittest.TestCase):
    def test_flags_are_helms(self):
        for page, words in commands("helm"):
            self.assertLessEqual(flags(words), HELM[words[1]], f"{page}: {' '.join(words)}")

    def test_each_line_renders_with_exactly_its_values(self):
        rendered = 0
        for page, words in commands("helm"):
            if words[1] not in ("install", "upgrade") or "…" in words:
                continue
            self.assertEqual(words[2:4], ["weir-stack", "deploy/helm/weir-stack"])
            self.assertEqual(checks.faults(stack.objects(values_of(words))), [], f"{page}: {' '.join(words)}")
            rendered += 1
        self.assertGreaterEqual(rendered, 3)

    def test_the_files_of_values_name_commands_that_render(self):
        for path in stack.CHART.glob("values-*.yaml"):
            text = path.read_text()
            for command in re.findall(r"^#   (helm install.*?[^\\])\n(?!#     )", text.replace(" \\\n#", ""), re.M | re.S):
                words = shlex.split(command.replace("\n#", " "))
                self.assertLessEqual(flags(words), HELM["install"], path.name)
                self.assertIn(f"deploy/helm/weir-stack/{path.name}", words)
                self.assertEqual(checks.faults(stack.objects(values_of(words))), [], path.name)

    def test_the_agents_chart_has_the_switches_that_are_named(self):
        text = (chart.DEPLOY / "README.md").read_text()
        (named,) = re.findall(r"`(--set podMonitor.enabled=true .*?)`", text)
        kinds = {o["kind"] for o in chart.objects(values_of(shlex.split(named)))}
        self.assertLessEqual({"PodMonitor", "PrometheusRule", "ConfigMap"}, kinds)


@unittest.skipIf(shutil.which("kubectl") is None, "no kubectl")
class Kubectl(unittest.TestCase):
    def test_flags_are_kubectls(self):
        common = help_of("kubectl", "options")
        for page, words in commands("kubectl"):
            words = [w for n, w in enumerate(words) if w != "--namespace" and (n == 0 or words[n - 1] != "--namespace")]
            sub = words[1:3] if words[1] in ("create", "rollout") else words[1:2]
            if words[1:3] == ["create", "secret"]:
                sub = words[1:4]
            known = help_of("kubectl", *sub) + common
            for flag in flags(words):
                self.assertIn(f"{flag}=", known, f"{page}: {' '.join(words)}")

    def test_what_is_named_is_made(self):
        found = stack.objects(CASES["backup"])
        made = {f"{o['kind'].lower()}/{o['metadata']['name']}" for o in found}
        made |= {f"service/weir-stack-{p}" for p in checks.parts(found)}
        # By the operator, by Loki's and by Grafana's chart: stack_values_test.py has their names from the real ones.
        made |= {"prometheus/weir-stack-prometheus", "statefulset/weir-stack-loki", "deployment/weir-stack-grafana"}
        if builder():
            made |= {f"{o['kind'].lower()}/{o['metadata']['name']}" for o in build(chart.DEPLOY / "kustomize/stack")}
        for page, words in commands("kubectl"):
            for kind, name in re.findall(r"\b(service|deployment|statefulset|cronjob|prometheus|job)/([\w-]+)", " ".join(words)):
                if name not in THEIRS:
                    self.assertIn(f"{kind}/{name}", made, f"{page}: {' '.join(words)}")

    @unittest.skipIf(builder() is None, "neither kubectl nor kustomize")
    def test_kustomizations_build(self):
        named = [words[words.index("--kustomize") + 1] for _, words in commands("kubectl") if "--kustomize" in words]
        self.assertEqual(named, ["deploy/kustomize/stack"])
        self.assertTrue(build(chart.ROOT / named[0]))


class Compose(unittest.TestCase):
    def test_flags_and_services_are_there(self):
        services = yaml.safe_load((chart.DEPLOY / "compose/compose.yaml").read_text())["services"]
        for page, words in commands("docker"):
            self.assertEqual(words[:4], ["docker", "compose", "-f", "deploy/compose/compose.yaml"], page)
            known = help_of(COMPOSE, words[4])
            for flag in flags(words[5:]):
                self.assertIn(f"{flag} ", known, f"{page}: {' '.join(words)}")
            named = [w for w in words[5:] if not w.startswith("-")][:1]
            self.assertLessEqual(set(named), services.keys(), f"{page}: {' '.join(words)}")


if __name__ == "__main__":
    unittest.main()

"""The boards' queries: they parse where they will run, and every metric and label that they name exists."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import boards
import grammar

# Own metrics of the agent that no panel shows, and why.
NOT_SHOWN = {
    "process_start_time_seconds": "the age of the configuration is that of the process or less",
}
# Labels of the streams that the job `pods` of config/kubernetes.yaml sends (dashboards_lines_test.py asks the agent).
STREAM = {"namespace", "pod", "container", "stream", "filename"}


def missing(what):
    """Leaves a test out, or fails it where nothing may be missing."""
    if os.environ.get("WEIR_ALL"):
        raise AssertionError(f"WEIR_ALL, and a part is missing: {what}")
    raise unittest.SkipTest(what)


class Names(unittest.TestCase):
    def test_every_metric_is_one_that_weir_has_or_is_declared(self):
        used = set()
        for place, target, _, _ in boards.targets("prometheus"):
            for selector in boards.selectors(target["expr"]):
                named = selector.named()
                self.assertTrue(named, place)
                self.assertLessEqual(named, set(boards.metrics()), place)
                used |= named
            # A name without braces would not have been looked at.
            bare = re.sub(r'"[^"]*"', "", target["expr"])
            self.assertEqual(re.findall(r"\b(?:weir|promtail|process|kube|logentry)_\w+\b(?!\{)", bare), [], place)
        self.assertLessEqual(set(boards.FOREIGN), used)

    def test_every_matcher_and_grouping_is_a_label_of_the_metric(self):
        for place, target, _, _ in boards.targets("prometheus"):
            expr = target["expr"]
            labels = set()
            for selector in boards.selectors(expr):
                for metric in selector.named():
                    has = boards.metrics()[metric] | (boards.OF_THE_SCRAPE if metric not in boards.FOREIGN else set())
                    self.assertLessEqual(set(selector.matchers) - {"__name__"}, has, f"{place}: {metric}")
                    labels |= has
            labels |= boards.made(expr)
            self.assertLessEqual(boards.grouped(expr), labels, place)
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "") + target.get("textFormat", "")))
            self.assertLessEqual(shown, labels, place)

    def test_a_legend_names_all_that_the_query_groups_by(self):
        for place, target, panel, _ in boards.targets("prometheus"):
            if panel and panel["type"] in ("timeseries", "bargauge"):
                expr = target["expr"]
                grouped = set(re.findall(r"\w+", re.match(r"[\s(]*(?:\w+\()?sum by \(([^)]*)\)|", expr)[1] or "")) - {
                    "le"
                }
                shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                self.assertLessEqual(grouped, shown, place)

    def test_everything_the_agent_says_of_itself_is_on_its_board(self):
        table = (boards.chart.ROOT / "docs/metrics.md").read_text().split("<!-- end -->")[0]
        own = {
            name for name in re.findall(r"^\| `(\w+)`", table, re.M) if not name.startswith(("promtail_", "logentry_"))
        }
        expressions = " ".join(t["expr"] for _, t, _, b in boards.targets("prometheus") if b["uid"] == "weir-agent")
        shown = {name for name in own if re.search(rf"\b{name}(?:_sum|_count|_bucket)?\b", expressions)}
        shown |= {m for s in boards.selectors(expressions) for m in s.named()}
        self.assertEqual(own - shown, set(NOT_SHOWN))

    def test_every_metric_that_is_counted_is_on_a_board(self):
        expressions = " ".join(target["expr"] for _, target, _, _ in boards.targets("prometheus"))
        unseen = {name for name in boards.counted() if not re.search(rf"\b{name}(_bucket)?\{{", expressions)}
        self.assertEqual(unseen, set())

    def test_streams_are_chosen_by_labels_that_the_agent_sends(self):
        for place, target, _, _ in boards.targets("loki"):
            chosen = re.findall(r"\{([^{}]*)\}", re.sub(r"`[^`]*`", "", target["expr"]))
            self.assertEqual(len(chosen), 1, place)
            names = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen[0]))
            self.assertTrue({"namespace", "container"} <= names <= STREAM, place)


class Page(unittest.TestCase):
    def test_the_page_lists_every_panel_with_what_it_needs(self):
        page = boards.chart.ROOT / "docs/dashboards.md"
        text = page.read_text()
        head, rest = text.split("<!-- generated: WEIR_UPDATE=1 deploy/tests/run -->\n")
        tail = rest.split("<!-- end -->")[1]
        wanted = f"{head}<!-- generated: WEIR_UPDATE=1 deploy/tests/run -->\n{listed()}<!-- end -->{tail}"
        if boards.chart.UPDATE:
            page.write_text(wanted)
        self.assertEqual(text if not boards.chart.UPDATE else wanted, wanted, "WEIR_UPDATE=1 deploy/tests/run")


def listed():
    """A table of the panels for each board."""
    text = ""
    for board in boards.all_boards().values():
        text += f"\n### {board['title']}\n\n| panel | | from |\n|---|---|---|\n"
        for panel in boards.panels(board):
            sources = set()
            for target in panel["targets"]:
                if target["datasource"]["type"] == "loki":
                    sources.add("Loki")
                else:
                    named = [name for s in boards.selectors(target["expr"]) for name in s.named()]
                    sources |= {f"`{re.sub('_(bucket|sum|count)$', '', name)}`" for name in named}
            text += f"| {panel['title']} | {panel['description']} | {', '.join(sorted(sources))} |\n"
    return text + "\n"


class Parsed(unittest.TestCase):
    def test_prometheus_takes_every_query(self):
        if not shutil.which("promtool"):
            missing("promtool")
        rules = []
        for _, target, _, board in boards.targets("prometheus"):
            names = {v["name"]: ".+" for v in board["templating"]["list"] if v["name"] not in ("window", "top", "slow")}
            expr = boards.substituted(target["expr"], **names)
            self.assertNotRegex(expr, r"\$[A-Za-z_]")
            rules.append({"record": "x", "expr": expr, "labels": {"n": str(len(rules))}})
        for board in boards.all_boards().values():
            for variable in board["templating"]["list"]:
                if variable["type"] == "query" and variable["datasource"]["type"] == "prometheus":
                    series = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])[1]
                    rules.append(
                        {"record": "x", "expr": re.sub(r"\$\w+", ".+", series), "labels": {"n": str(len(rules))}}
                    )
        self.assertGreater(len(rules), 100)
        self.assertEqual(promtool(rules), "")
        self.assertIn("could not parse expression", promtool([{"record": "x", "expr": "sum by (a) rate(b)"}]))

    def test_grafana_s_grammar_takes_every_logql_query(self):
        if not shutil.which("node"):
            missing("node, from Debian's nodejs")
        try:
            folder = grammar.fetch()
        except OSError as error:
            missing(f"Grafana's grammar of LogQL: {error}")
        queries = []
        for place, target, _, board in boards.targets("loki"):
            names = {
                variable["name"]: "10.0.0.1" for variable in board["templating"]["list"] if variable["name"] != "slow"
            }
            queries.append((place, boards.substituted(target["expr"], **names)))
        for board in boards.all_boards().values():
            for variable in board["templating"]["list"]:
                if variable.get("datasource") == {"type": "loki", "uid": "${loki}"}:
                    queries.append((variable["name"], variable["query"]["stream"]))
        queries.append(("broken", '{a="b"} |= '))
        broken = grammar.errors(folder, [expr for _, expr in queries])
        self.assertEqual([place for (place, _), at in zip(queries, broken) if at], ["broken"])


def promtool(rules):
    """What promtool says of rules that it does not take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.yaml")
        path.write_text(json.dumps({"groups": [{"name": "boards", "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, timeout=60)
    return done.stderr if done.returncode else ""


if __name__ == "__main__":
    unittest.main()

"""The boards as Grafana gets them: dashboard-linter's rules written anew, the layout, and that code and JSON agree."""

import itertools
import re
import subprocess
import sys
import unittest

import boards

UIDS = {"weir-http.json", "weir-waf.json", "weir-traffic.json", "weir-agent.json"}
# Of Grafana's catalogue; an unknown one is shown as text behind the number.
UNITS = {"short", "percentunit", "reqps", "ops", "s", "bytes", "Bps"}
# Panels that are not of Angular, which Grafana no longer has.
KINDS = {"bargauge", "geomap", "heatmap", "logs", "stat", "table", "timeseries"}
# dashboard-linter wants these rules everywhere; where a board does otherwise, and why.
NOT_OF_THE_JOB = "the books have a label job of their own, the job of weir's configuration"
AS_THEY_STAND = {
    ("weir-agent.json", "Books differ by"): "the equation holds between the counters themselves, at every moment",
    ("weir-agent.json", "Books"): "the equation holds between the counters themselves, at every moment",
}


class Shape(unittest.TestCase):
    def each(self):
        """(place, board, panel) of every panel."""
        for name, board in boards.all_boards().items():
            for panel in boards.panels(board):
                yield f"{name}, {panel['title']!r}", board, panel

    def test_the_code_and_the_json_agree(self):
        done = subprocess.run(
            [sys.executable, boards.FOLDER / "generate", "--check"], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), "run dashboards/generate")

    def test_uids_are_those_that_links_and_alerts_name(self):
        self.assertEqual(set(boards.all_boards()), UIDS)
        for name, board in boards.all_boards().items():
            self.assertEqual(board["uid"] + ".json", name)
            self.assertIsNone(board["id"])
            self.assertEqual((board["schemaVersion"], board["editable"]), (42, False))
            self.assertIn("weir", board["tags"])
            self.assertTrue(board["title"] and board["description"])
            self.assertNotIn("__inputs", board)
        titles = [board["title"] for board in boards.all_boards().values()]
        self.assertEqual(len(set(titles)), len(titles))

    def test_every_link_leads_to_a_board_and_sets_variables_that_it_has(self):
        known = {
            board["uid"]: {v["name"] for v in board["templating"]["list"]} for board in boards.all_boards().values()
        }
        seen = 0
        for name, board in boards.all_boards().items():
            between = [link for link in board["links"] if link["type"] == "dashboards"]
            self.assertEqual([(link["tags"], link["includeVars"]) for link in between], [(["weir"], True)], name)
            for uid, query in re.findall(r'"url": "/d/([^?"]+)\?([^"]*)"', (boards.FOLDER / name).read_text()):
                seen += 1
                self.assertIn(uid, known, name)
                set_ = set(re.findall(r"var-(\w+)=", query))
                kept = set(re.findall(r"\$\{(\w+):queryparam\}", query))
                self.assertLessEqual(set_ | kept, known[uid], name)
                self.assertLessEqual(kept, known[board["uid"]], name)
        self.assertTrue(seen)

    def test_countries_are_never_without_the_words_that_their_licences_want(self):
        self.assertIn("IP Geolocation by DB-IP", (boards.chart.ROOT / "docs/deploy.md").read_text())
        for name, board in boards.all_boards().items():
            shown = any("country" in target["expr"] for p in boards.panels(board) for target in p["targets"])
            heads = [link for link in board["links"] if link["type"] == "link"]
            self.assertEqual(shown, bool(heads), name)
            for link in heads:
                self.assertEqual((link["title"], link["url"]), ("IP Geolocation by DB-IP", "https://db-ip.com"))
                self.assertIn("This product includes GeoLite Data created by MaxMind", link["tooltip"])

    def test_a_board_fits_into_a_config_map_that_kubectl_applies(self):
        # kubectl apply keeps the last one in an annotation, which has 256 KiB.
        for path in boards.FILES:
            self.assertLess(path.stat().st_size, 200 << 10, path.name)

    def test_panels_have_what_a_reader_needs(self):
        for place, _, panel in self.each():
            with self.subTest(place):
                self.assertIn(panel["type"], KINDS)
                self.assertTrue(panel["title"])
                self.assertRegex(panel["description"], r"^[A-Z0-9].{10,}\.$")
                self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS)
                self.assertTrue(panel["targets"])
                refs = [target["refId"] for target in panel["targets"]]
                self.assertEqual(len(set(refs)), len(refs))
                if panel["type"] == "timeseries":
                    self.assertTrue(panel["options"]["legend"]["showLegend"])

    def test_titles_are_unique_within_a_board(self):
        for name, board in boards.all_boards().items():
            titles = [panel["title"] for panel in boards.panels(board)]
            self.assertEqual(sorted(set(titles)), sorted(titles), name)

    def test_ids_are_unique_and_no_panel_lies_on_another(self):
        for name, board in boards.all_boards().items():
            every = [one for panel in board["panels"] for one in [panel, *panel.get("panels", [])]]
            ids = [panel["id"] for panel in every]
            self.assertEqual(len(set(ids)), len(ids), name)
            for group in [board["panels"], *(row["panels"] for row in board["panels"] if row.get("panels"))]:
                for one in group:
                    place = one["gridPos"]
                    self.assertTrue(place["x"] >= 0 and place["x"] + place["w"] <= 24, one["title"])
                    self.assertTrue(place["w"] > 0 and place["h"] > 0, one["title"])
                for one, other in itertools.combinations(group, 2):
                    self.assertFalse(overlap(one["gridPos"], other["gridPos"]), (name, one["title"], other["title"]))

    def test_each_row_is_filled_from_edge_to_edge(self):
        for name, board in boards.all_boards().items():
            widths = {}
            for panel in boards.panels(board):
                place = panel["gridPos"]
                for y in range(place["y"], place["y"] + place["h"]):
                    widths[y] = widths.get(y, 0) + place["w"]
            self.assertEqual({y for y, width in widths.items() if width != 24}, set(), name)

    def test_every_source_is_a_variable(self):
        allowed = {"prometheus": "${datasource}", "loki": "${loki}"}
        for place, _, panel in self.each():
            sources = {(t["datasource"]["type"], t["datasource"]["uid"]) for t in panel["targets"]}
            self.assertLessEqual(sources, set(allowed.items()), place)
            # One panel shows both: then it names neither, and each target its own.
            own = ("datasource", "-- Mixed --") if len(sources) > 1 else sources.pop()
            self.assertEqual((panel["datasource"]["type"], panel["datasource"]["uid"]), own, place)
        for name, board in boards.all_boards().items():
            for event in board["annotations"]["list"]:
                self.assertEqual(event["datasource"]["uid"], allowed[event["datasource"]["type"]], name)

    def test_tables_show_columns_that_their_queries_give(self):
        for place, _, panel in self.each():
            if panel["type"] != "table":
                continue
            wanted = next(t for t in panel["transformations"] if t["id"] == "filterFieldsByName")
            order = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]
            names = wanted["options"]["include"]["names"]
            self.assertEqual(list(order["indexByName"]), names, place)
            self.assertLessEqual(set(order["renameByName"]), set(names), place)
            shown = [order["renameByName"].get(name, name) for name in names if name != "Value"]
            self.assertEqual(len(set(shown)), len(shown), place)
            values = {f"Value #{target['refId']}" for target in panel["targets"]}
            used = {name for name in names if name.startswith("Value #")}
            self.assertLessEqual(used, values, place)
            if any(target["datasource"]["type"] == "prometheus" for target in panel["targets"]):
                self.assertTrue(all(t.get("format", "table") == "table" for t in panel["targets"]), place)
                # What nobody shows need not be asked for; a message is a label of its query.
                self.assertLessEqual(values - used, {"Value #C"} if "-- Mixed --" in str(panel) else set(), place)
            for override in panel["fieldConfig"]["overrides"]:
                self.assertIn(override["matcher"]["options"], shown, place)
            for sort in panel["options"].get("sortBy", []):
                self.assertIn(sort["displayName"], shown, place)


class Variables(unittest.TestCase):
    def variables(self):
        for name, board in boards.all_boards().items():
            yield name, board, {variable["name"]: variable for variable in board["templating"]["list"]}

    def test_sources_job_and_instance_are_on_every_board(self):
        for name, _, found in self.variables():
            for source, kind in (("datasource", "prometheus"), ("loki", "loki")):
                self.assertEqual((found[source]["type"], found[source]["query"]), ("datasource", kind), name)
            for target in ("job", "instance"):
                self.assertEqual((found[target]["allValue"], found[target]["multi"]), (".+", True), name)

    def test_queries_of_variables_follow_the_time_and_the_source(self):
        for name, _, found in self.variables():
            for variable in found.values():
                if variable["type"] == "query":
                    self.assertEqual(variable["refresh"], 2, (name, variable["name"]))
                    asked = variable["query"]
                    whole = asked.get("query") or f"label_values({asked['stream']}, {asked['label']})"
                    self.assertEqual(variable["definition"], whole)
                    self.assertIn(variable["datasource"]["uid"], ("${datasource}", "${loki}"))
                    self.assertTrue(variable["label"])

    def test_the_label_of_a_variable_is_one_that_its_metric_has(self):
        for name, _, found in self.variables():
            for variable in found.values():
                if variable["type"] != "query" or variable["datasource"]["uid"] != "${datasource}":
                    continue
                metric, label = re.fullmatch(
                    r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["query"]["query"]
                ).groups()
                self.assertIn(label, boards.metrics()[metric] | boards.OF_THE_SCRAPE, (name, variable["name"]))

    def test_a_variable_that_may_be_empty_matches_what_has_no_label(self):
        for name, _, found in self.variables():
            for ingress in ("namespace", "ingress"):
                if ingress in found:
                    self.assertEqual(found[ingress]["allValue"], ".*", name)

    def test_every_variable_is_used_and_every_used_one_is_there(self):
        for name, board, found in self.variables():
            text = (boards.FOLDER / name).read_text()
            builtin = {"__rate_interval", "__range", "__interval", "__url_time_range", "__value", "__all"}
            used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", text)) - builtin
            self.assertEqual(used - set(found), set(), name)
            # The boards link to each other with both sources.
            self.assertEqual(set(found) - used - {"loki"}, set(), name)


class Linted(unittest.TestCase):
    """dashboard-linter's rules for PromQL targets."""

    def each(self):
        for place, target, panel, board in boards.targets("prometheus"):
            name = board["uid"] + ".json"
            for selector in boards.selectors(target["expr"]):
                yield f"{place}: {selector}", selector, panel, name

    def test_selectors_are_found(self):
        for place, target, _, _ in boards.targets("prometheus"):
            self.assertTrue(boards.selectors(target["expr"]), place)

    def test_every_query_follows_the_job_and_the_instance(self):
        for place, selector, panel, name in self.each():
            if selector.named() <= set(boards.FOREIGN):
                continue
            self.assertEqual(selector.matchers.get("instance"), "$instance", place)
            of_its_own = {"job" in boards.metrics().get(metric, ()) for metric in selector.named()}
            wanted = None if of_its_own == {True} else "$job"
            self.assertEqual(selector.matchers.get("job"), wanted, (place, NOT_OF_THE_JOB))

    def test_a_panel_that_the_filter_of_ingresses_does_not_reach_says_so(self):
        for place, selector, panel, name in self.each():
            board = boards.all_boards()[name]
            if not panel or "ingress" not in {v["name"] for v in board["templating"]["list"]}:
                continue
            matchers = selector.matchers
            followed = (matchers.get("namespace"), matchers.get("ingress")) == ("$namespace", "$ingress")
            if not followed and matchers.get("client_ip") != "$client_ip":
                self.assertIn("all ingresses", panel["description"].lower(), place)
                self.assertFalse({"namespace", "ingress"} <= boards.metrics()[selector.name], place)

    def test_counters_are_rates_or_increases_and_gauges_are_neither(self):
        for place, selector, panel, name in self.each():
            counters = {re.search(r"(_total|_bucket|_sum|_count)$", metric) is not None for metric in selector.named()}
            if panel and (name, panel["title"]) in AS_THEY_STAND:
                continue
            self.assertEqual({bool(selector.function)}, counters, place)

    def test_rates_use_the_interval_that_fits_the_scrapes(self):
        for place, selector, _, _ in self.each():
            if selector.function == "rate":
                self.assertEqual(selector.range, "$__rate_interval", place)
            elif selector.function:
                self.assertIn(selector.range, ("$__range", "$__rate_interval", "$window"), place)
            else:
                self.assertEqual(selector.range, "", place)

    def test_the_whole_range_is_asked_for_once_and_not_at_each_moment(self):
        for place, target, _, _ in boards.targets("prometheus"):
            expr = target["expr"]
            if "[$__range]" in expr.replace("[$__range] @ end()", ""):
                self.assertTrue(target["instant"], place)

    def test_loki_targets_of_the_whole_range_are_instant(self):
        for place, target, _, _ in boards.targets("loki"):
            if "$__range" in target["expr"]:
                self.assertEqual(target["queryType"], "instant", place)

    def test_nothing_else_looks_like_a_variable_of_grafana_s(self):
        for kind in ("prometheus", "loki"):
            for place, target, _, board in boards.targets(kind):
                # Its old way to write one.
                self.assertNotRegex(target["expr"], r"\[\[\w+(:\w+)?\]\]", place)
                names = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval", "__range"}
                self.assertLessEqual(names, {v["name"] for v in board["templating"]["list"]} | {"1"}, place)

    def test_no_range_of_a_log_query_is_fixed(self):
        for place, target, _, _ in boards.targets("loki"):
            outside = re.sub(r"`[^`]*`", "", target["expr"])
            self.assertLessEqual(set(re.findall(r"\[([^]]*)\]", outside)), {"$__range"}, place)

    def test_log_queries_are_bounded(self):
        for place, target, panel, _ in boards.targets("loki"):
            if panel and target["queryType"] == "range":
                self.assertLessEqual(target["maxLines"], 500, place)
            elif panel:
                self.assertRegex(target["expr"], r"^topk( by \(\w+\) )?\(", place)


def overlap(one, other):
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


if __name__ == "__main__":
    unittest.main()

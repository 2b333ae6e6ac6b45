"""What the boards' LogQL reads from real lines, compared with what nginx' own files say (tests/corpus)."""

import collections
import functools
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import boards
import chart
import logql
from ingress_nginx_test import NOWHERE, REQUEST, STRANGE, line as own_format

CORPUS = chart.ROOT / "tests/corpus"
sys.path.insert(0, str(CORPUS))
import truth  # noqa: E402

EXCERPTS = {"demo": ["demo/controller-d1.cri.gz", "demo/controller-d2.cri.gz"], "text": ["text/controller.cri.gz"]}
# Of other systems' issues: no [client …], no file; CRS 3.3.2 of a container (kubernetes/ingress-nginx#5532 and others).
LOGGING = (
    '2020/05/10 10:58:14 [info] 6986#6986: *827860 ModSecurity: Warning.  [file "<<reference missing or not informed>>"] '
    '[line "4"] [id "980145"] [rev ""] [msg "Incoming and Outgoing Score: 15 0"] [data ""] [severity "0"] [ver ""] '
    '[maturity "0"] [accuracy "0"] [hostname "10.0.0.7"] [uri "/"] [unique_id "158910829412.6"] [ref ""] '
    'while logging request, client: 198.51.100.7, server: shop.example, request: "POST / HTTP/2.0", host: "shop.example"'
)
SQLI = (
    "2026/11/21 02:25:48 [info] 15742#15742: *11 ModSecurity: Warning. detected SQLi using libinjection. "
    '[file "/etc/nginx/owasp-modsecurity-crs/rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf"] [line "46"] [id "942100"] '
    '[rev ""] [msg "SQL Injection Attack Detected via libinjection"] '
    '[data "Matched Data: s&1c found within ARGS:NAME: 1\' or 1=1"] [severity "2"] [ver "OWASP_CRS/4.22.0"] '
    '[maturity "0"] [accuracy "0"] [tag "attack-sqli"] [hostname "10.0.0.7"] [uri "URI"] [unique_id "1.2"] '
    '[ref "v276,95"], client: 198.51.100.7, server: shop.example, request: "POST /cart HTTP/1.1", host: "shop.example"'
)


@functools.cache
def lines(excerpt):
    """stdout's and stderr's lines of an excerpt, whole again."""
    found = {"stdout": [], "stderr": []}
    for name in EXCERPTS[excerpt]:
        open_ = {"stdout": b"", "stderr": b""}
        for line in gzip.decompress((CORPUS / name).read_bytes()).splitlines():
            _, stream, flag, text = line.split(b" ", 3)
            stream = stream.decode()
            open_[stream] += text
            if flag == b"F":
                found[stream].append(open_[stream].decode("utf-8", "replace"))
                open_[stream] = b""
    return found


def queries(title, uid=None, **values):
    """The pipelines of a panel's LogQL targets, with variables' values in their places."""
    values = {"server": ".*", **values}
    return [
        logql.pipeline(boards.substituted(target["expr"], **values))
        for _, target, panel, board in boards.targets("loki")
        if panel and panel["title"] == title and uid in (None, board["uid"])
    ]


def one(title, **values):
    found = queries(title, **values)
    assert len(found) == 1, title
    return found[0]


def counted(rows, label):
    return collections.Counter(row.get(label, "") for row in rows)


class Queries(unittest.TestCase):
    def test_every_stage_of_every_query_is_one_that_is_tried_here(self):
        for place, target, panel, _ in boards.targets("loki"):
            with self.subTest(place):
                expr = boards.substituted(target["expr"], client_ip="10.0.0.0/8", server=".*", controllers="c")
                logql.pipeline(expr)

    def test_all_read_modsecurity_s_lines_in_the_same_way(self):
        read = {found for _, target, _, _ in boards.targets("loki") for found in logql.expressions(target["expr"])}
        self.assertEqual(len([found for found in read if "ModSecurity: " in found]), 1)
        for name in ("client", "status", "path", "took", "ingress", "method"):
            of_access = [found for found in read if f"?P<{name}>" in found and "ModSecurity: " not in found]
            self.assertEqual(len(of_access), 1, name)

    def test_no_group_has_the_name_of_a_stream_label(self):
        # Loki would call it namespace_extracted.
        for place, target, _, _ in boards.targets("loki"):
            for expression in logql.expressions(target["expr"]):
                groups = set(logql.compiled(expression).groupindex)
                taken = {
                    "namespace",
                    "pod",
                    "container",
                    "stream",
                    "filename",
                    "service_name",
                    "level",
                    "detected_level",
                }
                self.assertEqual(groups & taken, set(), place)

    def test_columns_of_log_tables_are_labels_of_their_queries(self):
        for place, target, panel, _ in boards.targets("loki"):
            if not panel or panel["type"] != "table" or target["queryType"] != "range":
                continue
            made = set(re.findall(r"\(\?P<(\w+)>|(?:label_format |, )(\w+)=`", target["expr"]))
            wanted = next(t for t in panel["transformations"] if t["id"] == "filterFieldsByName")
            names = set(wanted["options"]["include"]["names"]) - {"Time"}
            self.assertLessEqual(names, {name for pair in made for name in pair}, place)

    def test_columns_of_counted_tables_are_grouped_by(self):
        for place, target, panel, _ in boards.targets("loki"):
            if not panel or panel["type"] != "table" or target["queryType"] != "instant":
                continue
            grouped = boards.grouped(re.sub(r"`[^`]*`", "", target["expr"]))
            wanted = next(t for t in panel["transformations"] if t["id"] == "filterFieldsByName")
            names = {name for name in wanted["options"]["include"]["names"] if not name.startswith("Value")}
            if len(panel["targets"]) == 1:
                self.assertLessEqual(names, grouped, place)

    def test_the_agent_sends_the_labels_that_streams_are_chosen_by(self):
        binary = os.environ.get("WEIR_BIN")
        if not binary:
            self.skipTest("WEIR_BIN names no binary")
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "pods/ingress-nginx_c_585292d4-f356-4406-a41a-4d8a2e980008/controller/0.log")
            log.parent.mkdir(parents=True)
            log.write_text("2026-11-21T02:25:48.1Z stdout F a\n2026-11-21T02:25:48.2Z stderr F b\n")
            done = subprocess.run(
                [
                    Path(binary).resolve(),
                    f"-config.file={chart.ROOT / 'config/kubernetes.yaml'}",
                    "-config.expand-env",
                    "-dry-run",
                    "-one-shot",
                ],
                env={"WEIR_LOG_ROOT": f"{folder}/pods", "WEIR_STATE": f"{folder}/state", "NODE_NAME": "n"},
                capture_output=True,
                text=True,
                timeout=60,
            )
        streams = [dict(re.findall(r'(\w+)="([^"]*)"', part)) for part in re.findall(r"\t(\{.*?\})\t", done.stdout)]
        self.assertEqual(
            [sorted(stream) for stream in streams], [["container", "filename", "namespace", "pod", "stream"]] * 2
        )
        for place, target, _, _ in boards.targets("loki"):
            selector = logql.pipeline(boards.substituted(target["expr"], client_ip="10.0.0.1", server="x")).selector
            selector["namespace"] = ("=~", "ingress-nginx")
            chosen = [s for s in streams if all(re.fullmatch(value, s[name]) for name, (_, value) in selector.items())]
            self.assertTrue(chosen, place)


class Waf(unittest.TestCase):
    LAST = "Last events"

    def check(self, line, row):
        """One line's row against the independent reading of it."""
        hit = truth.modsecurity(line)
        if not hit:
            self.assertIsNone(row, line)
            return
        absent = lambda value: "" if value is None or "(truncated" in value else value
        wanted = {
            "action": "blocked" if hit["denied"] else "detected",
            "code": absent(hit["code"]),
            "rule_id": absent(hit["rule"]),
            "severity": absent(hit["severity"]),
            "unique_id": absent(hit["unique_id"]),
            "client": absent(hit["client"]),
            "server": absent(hit["server"]),
        }
        self.assertEqual({name: row.get(name, "") for name in wanted}, wanted, line)

    def test_every_line_of_the_reviewed_excerpt_is_read_as_nginx_wrote_it(self):
        events = 0
        for raw in (CORPUS / "modsecurity-excerpt.log").read_bytes().splitlines():
            rows = list(one(self.LAST).rows([raw.decode("utf-8", "replace")]))
            self.check(raw, rows[0] if rows else None)
            events += len(rows)
        reviewed = (CORPUS / "modsecurity-excerpt.expected").read_text().splitlines()
        self.assertEqual(events, sum(not line.startswith("no event") for line in reviewed))

    def test_rows_are_as_reviewed_by_hand(self):
        for raw, reviewed in zip(
            (CORPUS / "modsecurity-excerpt.log").read_bytes().splitlines(),
            (CORPUS / "modsecurity-excerpt.expected").read_text().splitlines(),
        ):
            rows = list(one(self.LAST).rows([raw.decode("utf-8", "replace")]))
            if reviewed == "no event":
                self.assertEqual(rows, [])
                continue
            row = collections.defaultdict(str, rows[0])
            found = re.match(r"(\w+) (?:(\d+)/(\d) )?id=(\d*) set=(\S*) severity=(\d*) ", reviewed)
            self.assertEqual(
                (row["action"], row["code"], row["phase"], row["rule_id"], row["rule_set"], row["severity"]),
                tuple(value or "" for value in found.groups()),
                reviewed,
            )
            method = re.search(r" server=\S* (\S*) ", reviewed)
            self.assertEqual(row["method"], method[1], reviewed)

    def test_sums_over_the_excerpts_are_nginx_own(self):
        for excerpt in EXCERPTS:
            known = json.loads((CORPUS / excerpt / "truth.json").read_text())
            known = known.get("sum_of_runs", known)["modsec"]
            rows = list(one(self.LAST).rows(lines(excerpt)["stderr"]))
            self.assertEqual(len(rows), known["lines"], excerpt)
            for label, dimension in (
                ("rule_id", "by_rule"),
                ("severity", "by_severity"),
                ("server", "by_server_trailer"),
                ("client", "by_client"),
            ):
                wanted = collections.Counter()
                for value, count in known[dimension].items():
                    wanted["" if "(truncated" in value else value] += count
                self.assertEqual(counted(rows, label), wanted, (excerpt, label))
            denied = [row for row in rows if row["action"] == "blocked"]
            self.assertEqual(counted(denied, "code"), known["denied_by_code"], excerpt)
            self.assertEqual(counted(denied, "phase"), known["denied_by_phase"], excerpt)

    def test_attacks_are_those_of_the_tags(self):
        wanted = collections.Counter()
        for line in lines("demo")["stderr"]:
            hit = truth.modsecurity(line.encode())
            attacks = [tag[7:] for tag in hit["tags"] if tag.startswith("attack-")] if hit and hit["unique_id"] else []
            if attacks and hit["server"] != "(truncated)":
                wanted[attacks[0]] += 1
        rows = [
            row for row in one("Attacks by what rules say of them").rows(lines("demo")["stderr"]) if "server" in row
        ]
        self.assertEqual(counted(rows, "attack"), wanted)
        self.assertGreater(len(wanted), 5)

    def test_lines_of_elsewhere(self):
        row = next(one(self.LAST).rows([LOGGING]))
        wanted = {"action": "detected", "rule_id": "980145", "client": "198.51.100.7", "server": "shop.example"}
        self.assertEqual(wanted, {name: row[name] for name in wanted})
        self.assertNotIn("rule_set", row)
        row = next(one(self.LAST).rows([SQLI.replace("NAME", "q").replace("URI", "/cart")]))
        self.assertEqual((row["variable"], row["attack"], row["uri"]), ("ARGS:q", "sqli", "/cart"))

    def test_scores_make_no_messages_of_their_own(self):
        rows = list(one("Top rules").rows(lines("demo")["stderr"]))
        self.assertEqual(
            set(counted((row for row in rows if row["rule_id"] == "949110"), "msg")), {"Inbound Anomaly Score Exceeded"}
        )
        self.assertEqual(set(row["msg"] for row in one("Top rules").rows([LOGGING])), {"Incoming and Outgoing"})

    FINDER = "False positives: rule and path"

    def test_the_finder_writes_the_line_that_ends_it(self):
        (row,) = one(self.FINDER).rows([SQLI.replace("NAME", "q").replace("URI", "/cart/7")])
        self.assertEqual(row["everywhere"], 'SecRuleUpdateTargetById 942100 "!ARGS:q"')
        self.assertEqual(
            row["here"],
            'SecRule REQUEST_FILENAME "@streq /cart/7" '
            '"id:42100,phase:1,pass,nolog,ctl:ruleRemoveTargetById=942100;ARGS:q"',
        )

    def test_the_finder_writes_no_directive_of_a_client_s(self):
        for name, uri in (
            ("q\"' SecRuleEngine Off", "/cart"),
            ("q|REQUEST_URI", "/cart"),
            ("q,ctl:ruleEngine=Off", "/cart"),
            ("q;x", "/cart"),
            ("q", '/cart" "id:1,pass,ctl:ruleEngine=Off'),
            ("q", "/cart %{x}"),
            ("q", "cart"),
        ):
            rows = list(one(self.FINDER).rows([SQLI.replace("NAME", name).replace("URI", uri)]))
            self.assertEqual(rows, [], (name, uri))

    def test_the_finder_finds_in_real_lines_and_leaves_scores_out(self):
        rows = list(one(self.FINDER).rows(lines("demo")["stderr"]))
        self.assertGreater(len(rows), 400)
        safe = (
            r'SecRule REQUEST_FILENAME "@streq /[\w./~+-]*" '
            r'"id:\d{1,5},phase:1,pass,nolog,ctl:ruleRemoveTargetById=\d+;[A-Z_]+(:[\w.-]+)?"'
        )
        for row in rows:
            self.assertRegex(row["here"], f"^{safe}$")
            self.assertRegex(row["everywhere"], r'^SecRuleUpdateTargetById \d+ "![A-Z_]+(:[\w.-]+)?"$')
        self.assertFalse({"949110", "959100", "980130"} & set(counted(rows, "rule_id")))
        self.assertFalse([row for row in rows if row["variable"].startswith("TX")])


class Access(unittest.TestCase):
    REQUESTS = "Its last requests"

    def rows(self, found):
        """Every access line's row, whichever client it has."""
        whole = one(self.REQUESTS, client_ip="0.0.0.0/0")
        # All but the two filters by the client.
        whole.stages = [(kind, stage) for kind, stage in whole.stages if kind not in ("names", "within")]
        return [row for row in whole.rows(found) if "status" in row]

    def test_sums_over_the_excerpts_are_nginx_own(self):
        for excerpt in EXCERPTS:
            known = json.loads((CORPUS / excerpt / "truth.json").read_text())
            known = known.get("sum_of_runs", known)["access"]
            rows = self.rows(lines(excerpt)["stdout"])
            self.assertEqual(len(rows), known["total"], excerpt)
            self.assertEqual(counted(rows, "status"), known["by_status"], excerpt)
            self.assertEqual(counted(rows, "client"), known["by_client"], excerpt)
            methods = counted(rows, "method")
            if excerpt == "demo":
                self.assertEqual(counted(rows, "ingress"), known["by_ingress"])
                self.assertEqual(methods, known["by_method"])
            else:
                # Text has the request line and no more: one that nginx refused for its target still shows a method.
                self.assertLessEqual((methods - collections.Counter(known["by_method"])).total(), 2)
                self.assertIn("shop-storefront-80", counted(rows, "ingress"))
            took = sum(round(float(row["took"]) * 1000) for row in rows)
            self.assertEqual(took, known["request_time_ms_sum"], excerpt)

    def test_keys_of_json_are_those_that_the_stage_knows(self):
        source = (chart.ROOT / "agent/pipeline/stage/ingress_nginx/fields.rs").read_text()
        known = {name: re.findall(r'"(\w+)"', keys) for name, keys in re.findall(r'\("(\w+)", &\[([^]]*)\]\)', source)}
        text = " ".join(target["expr"] for _, target, _, _ in boards.targets("loki"))
        for name, group in (
            ("client_ip", "client"),
            ("method", "method"),
            ("path", "path"),
            ("status", "status"),
            ("duration", "took"),
            ("ingress", "ingress"),
            ("user_agent", "agent"),
        ):
            expression = re.search(rf"regexp `([^`]*\?P<{group}>[^`]*)`", text)
            keys = re.search(r'"\(\?:([\w|]+)\)": |"(\w+)": ', expression[1])
            self.assertEqual((keys[1] or keys[2]).split("|"), known[name], name)

    def test_the_format_that_is_shipped(self):
        rows = self.rows([own_format(variables) for variables in (REQUEST, NOWHERE, STRANGE)])
        self.assertEqual([row["status"] for row in rows], ["200", "404", "009"])
        self.assertEqual({row["client"] for row in rows}, {"203.0.113.7"})
        self.assertEqual([row.get("ingress", "") for row in rows], ["storefront", "", "storefront"])

    def test_a_client_is_an_address_or_a_network(self):
        known = json.loads((CORPUS / "demo/truth.json").read_text())["sum_of_runs"]["access"]["by_client"]
        address = "2a0d:3344:0:57af:ee28:3c1e:a8f5:1ac5"
        for wanted in (address, "2a0d:3344:0:57af::/64"):
            rows = list(one(self.REQUESTS, client_ip=wanted).rows(lines("demo")["stdout"]))
            self.assertEqual(counted(rows, "client"), {address: known[address]})
        rows = list(one(self.REQUESTS, client_ip="161.63.254.121").rows(lines("demo")["stdout"]))
        self.assertEqual(len(rows), known["161.63.254.121"])

    def test_events_of_a_client(self):
        known = json.loads((CORPUS / "demo/truth.json").read_text())["sum_of_runs"]["modsec"]["by_client"]
        rows = list(one("Its last events of the WAF", client_ip="180.95.81.195").rows(lines("demo")["stderr"]))
        self.assertEqual(len(rows), known["180.95.81.195"])

    def test_paths_with_numbers_are_one(self):
        line = own_format(
            {**REQUEST, "uri": "/orders/4711/items/0b9d7e1c-33f2-4a1e-9c55-1f0c2f3d4e5f/7", "request_time": "2.5"}
        )
        (row,) = one("Slow paths").rows([line])
        self.assertEqual((row["path"], row["took"]), ("/orders/*/items/*/*", "2.5"))
        (row,) = one("Slow paths").rows([own_format({**REQUEST, "uri": "/v2/cart-7", "request_time": "0.1"})])
        self.assertEqual(row["path"], "/v2/cart-7")

    def test_slow_and_failing_requests_are_told_apart(self):
        slow = own_format({**REQUEST, "request_time": "2.500", "status": "504"})
        fast = own_format({**REQUEST, "request_time": "0.500"})
        self.assertEqual([row["status"] for row in one("Slow requests").rows([slow, fast])], ["504"])
        self.assertEqual([row["status"] for row in one("Failing paths").rows([slow, fast])], ["504"])
        for excerpt in EXCERPTS:
            rows = list(one("Failing paths").rows(lines(excerpt)["stdout"]))
            known = json.loads((CORPUS / excerpt / "truth.json").read_text())
            known = known.get("sum_of_runs", known)["access"]["by_status"]
            for status in ("404", "502", "503", "504"):
                self.assertEqual(counted(rows, "status")[status], known.get(status, 0), (excerpt, status))


if __name__ == "__main__":
    unittest.main()

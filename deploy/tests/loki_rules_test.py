"""What Loki's rules read out of lines, against what nginx and ModSecurity themselves logged of the same requests.

No ruler is here to evaluate them: their line filters and expressions are taken from the file and tried on the corpus' lines
with Python's `re`, which reads what they use of Go's syntax in the same way.
"""

import json
import re
import unittest
from collections import Counter

import hour
import rules_test

TRUTH = json.loads((hour.DEMO / "truth.json").read_text())["sum_of_runs"]
RULES = {rule["alert"]: rule["expr"] for rule in rules_test.rules([rules_test.LOKI])}


def lines(stream):
    """The joined lines of one stream, as weir forwards them."""
    for paths in hour.excerpt():
        for record in hour.records(paths):
            if record.stream == stream:
                yield record.text.decode("utf-8", "replace")


def read(name):
    """The labels that the rule's expression finds in each line that its filter lets through."""
    contained = re.search(r'\|= "([^"]*)"', RULES[name])[1]
    pattern = re.compile(re.search(r"regexp `([^`]*)`", RULES[name])[1])
    return [(line, pattern.search(line)) for line in lines("stderr") if contained in line]


class Waf(unittest.TestCase):
    def test_both_rules_read_the_same(self):
        patterns = {re.search(r"regexp `([^`]*)`", RULES[name])[1] for name in ("WafRuleManyClients", "WafClientAttacks")}
        self.assertEqual(len(patterns), 1)

    def test_rules_and_addresses_are_those_that_modsecurity_logged(self):
        found = [match.groupdict() for _, match in read("WafRuleManyClients") if match]
        truth = TRUTH["modsec"]
        # Some lines are cut before what is looked for; nothing may be counted that is not there.
        self.assertGreater(len(found), 0.98 * truth["lines"])
        for label, counted in (("rule_id", "by_rule"), ("client", "by_client"), ("server", "by_server_trailer")):
            with self.subTest(label):
                more = Counter(found_one[label] for found_one in found) - Counter(truth[counted])
                self.assertEqual(dict(more), {})

    def test_what_is_not_read_was_cut_or_repeats_quotes(self):
        for line, match in read("WafRuleManyClients"):
            if not match and re.match(r"\S+ \S+ \[\w+\] \S+ \*\d+ (\[client \S+\] )?ModSecurity: ", line):
                whole = re.search(r", client: \S+, server: .*, request: ", line.split('[unique_id "')[-1])
                self.assertTrue(not whole or '[msg "Echo ' in line, line[:200])

    def test_scores_are_left_out_and_nothing_else(self):
        for name in ("WafRuleManyClients", "WafClientAttacks"):
            left_out = re.compile(re.search(r'rule_id !~ "([^"]*)"', RULES[name])[1])
            rules = {rule for rule in TRUTH["modsec"]["by_rule"] if left_out.fullmatch(rule)}
            files = {"BLOCKING-EVALUATION", "CORRELATION", "INITIALIZATION"}
            of_scores = {
                match["rule_id"]
                for _, match in read(name)
                if match and any(part in match[0].split("]")[0] for part in files)
            }
            self.assertEqual(rules, of_scores)
            self.assertIn("949110", rules)


class Access(unittest.TestCase):
    def test_403_is_found_by_the_filter_and_the_names(self):
        expr = RULES["ClientForbidden"]
        contained = re.compile(re.search(r"\|~ `([^`]*)`", expr)[1])
        names = dict(re.findall(r'(\w+)="(\w+)"', expr.split("| json")[1].split("\n")[0]))
        found = Counter()
        for line in lines("stdout"):
            if contained.search(line):
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue
                found[str(fields[names["status"]])] += 1
                self.assertTrue(fields[names["client"]] and names["host"] in fields)
        # As deploy/ingress-nginx/values.yaml writes it, too.
        self.assertTrue(contained.search('{"status": "403"}') and not contained.search('{"status": "1403"}'))
        # One line in the truth is no JSON.
        self.assertLessEqual(TRUTH["access"]["by_status"]["403"] - found["403"], 1)
        self.assertEqual(set(found), {"403"})


if __name__ == "__main__":
    unittest.main()

"""The proof's own small parts, before it trusts them: what they decode, shorten, fill in and refuse."""

import gzip
import tempfile
import unittest
from pathlib import Path

import answers
import boards
import declared
import kubelet
import logql
import loki
import promql
import ruler
import rules
import snappy
import telegram
import template
import traffic

REPOSITORY = Path(__file__).resolve().parents[2]


class Snappy(unittest.TestCase):
    def test_literals_and_copies(self):
        self.assertEqual(snappy.unpack(bytes([3, 2 << 2]) + b"abc"), b"abc")
        # Two bytes, and four more from two bytes before: the copy overlaps what it makes.
        self.assertEqual(snappy.unpack(bytes([6, 1 << 2]) + b"ab" + bytes([0b00000001, 2])), b"ababab")
        # The same with two bytes of distance, and a literal whose length has a byte of its own.
        self.assertEqual(snappy.unpack(bytes([6, 1 << 2]) + b"ab" + bytes([3 << 2 | 2, 2, 0])), b"ababab")
        self.assertEqual(snappy.unpack(bytes([100, 60 << 2, 99]) + b"x" * 100), b"x" * 100)

    def test_what_is_no_block_is_refused(self):
        for block in (bytes([4, 2 << 2]) + b"abc", bytes([4, 0b00000001, 2]), b"\xff" * 12):
            with self.assertRaises(snappy.Damaged):
                snappy.unpack(block)


class Push(unittest.TestCase):
    def test_entries(self):
        def field(number, content):
            return bytes([number << 3 | 2, len(content)]) + content

        stamp = bytes([1 << 3, 5, 2 << 3, 7])
        entry = field(1, stamp) + field(2, b"a line")
        push = field(1, field(1, b'{a="b"}') + field(2, entry) + field(2, entry))
        self.assertEqual(list(loki.entries(push)), [('{a="b"}', 5_000_000_007, "a line")] * 2)


class Shorter(unittest.TestCase):
    def test_durations(self):
        self.assertEqual(
            [rules.shorter(text) for text in ("5m", "1h30m", "0s", "1ms")], ["15000ms", "270000ms", "0s", "1ms"]
        )

    def test_expressions(self):
        for long, short in {
            "rate(a[5m])": "rate(a[15000ms])",
            "max_over_time(rate(a[5m])[1h:1m])": "max_over_time(rate(a[15000ms])[180000ms:3000ms])",
            "rate(a[5m] offset 1d) offset -1h": "rate(a[15000ms] offset 4320000ms) offset -180000ms",
            'a{b="[5m] offset 1d"} > 300': 'a{b="[5m] offset 1d"} > 300',
            r'a{b="\"[5m]"}[5m]': r'a{b="\"[5m]"}[15000ms]',
        }.items():
            self.assertEqual(rules.shorter_expression(long), short)

    def test_texts_keep_their_words(self):
        text = "in [5m] {{ range printf `rate(a{b=%q}[5m])` $labels.b | query }}"
        self.assertEqual(rules.shorter_text(text), text.replace("b=%q}[5m]", "b=%q}[15000ms]"))


class Names(unittest.TestCase):
    def test_of_metrics(self):
        for query, names in {
            'sum by (b, c) (rate(a_total{d="e_total", f!~"g"}[5m]))': {"a_total"},
            "x:y:rate5m / on (a) group_left (b) (z > bool 0) and absent(up)": {"x:y:rate5m", "z", "up"},
            "histogram_quantile(0.99, sum by (le) (a_bucket)) or vector(0) > 1e6 * Inf": {"a_bucket"},
            'label_replace(a offset 5m, "b", "$1", "c", "(.*)") unless topk(3, d)': {"a", "d"},
            '{__name__="a_b", c="d"}': {"a_b"},
        }.items():
            self.assertEqual(promql.metrics(query), names, query)


class Filled(unittest.TestCase):
    def filled(self, text, variables=(), chosen=None):
        raw = {"templating": {"list": list(variables)}}
        return boards.Variables(raw, lambda variable: ["a.b", "c"], chosen or {}, 100).fill(text)

    def test_as_grafana_does(self):
        all_ = {"name": "v", "type": "query", "includeAll": True, "current": {"value": "$__all"}}
        self.assertEqual(self.filled('{x=~"$v"}', [all_]), r'{x=~"(a\\.b|c)"}')
        self.assertEqual(self.filled('{x=~"${v}"}', [{**all_, "allValue": ".*"}]), '{x=~".*"}')
        one = {"name": "v", "type": "query", "current": {}}
        self.assertEqual(self.filled("$v $vv [[v]]", [one]), "a.b $vv a.b")
        self.assertEqual(self.filled("$v", [one], {"v": "1.2.3.4"}), "1.2.3.4")
        self.assertEqual(self.filled("$v", [{**one, "multi": True}], {"v": "1.2"}), r"1\\.2")
        self.assertEqual(self.filled("[$__range] $__rate_interval"), "[100s] 8s")

    def test_rows_that_are_closed_are_opened(self):
        panel = {"type": "stat", "title": "in", "gridPos": {"x": 0, "y": 1, "w": 4, "h": 3}}
        row = {
            "type": "row",
            "title": "row",
            "collapsed": True,
            "panels": [panel],
            "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1},
        }
        below = {**panel, "title": "below", "gridPos": {"x": 0, "y": 1, "w": 4, "h": 3}}
        found = boards.board({"title": "b", "uid": "b", "panels": [row, below]})
        self.assertEqual([(one.title, one.raw["gridPos"]["y"]) for one in found.panels], [("in", 1), ("below", 4)])


class Tables(unittest.TestCase):
    def test_joined_filtered_and_renamed(self):
        targets = [boards.Target("", "promql", True, "", ref) for ref in "AB"]
        found = [
            answers.Answer(targets[0], rows=[({"ip": "1", "c": "X"}, 5.0), ({"ip": "2"}, 7.0)]),
            answers.Answer(targets[1], rows=[({"ip": "2"}, 9.0), ({"ip": "3"}, 1.0)]),
        ]
        organize = {
            "indexByName": {"Value #B": 0},
            "renameByName": {"Value #B": "Refused"},
            "excludeByName": {"Time": True},
        }
        no_a = {"fieldName": "Value #A", "config": {"id": "isNull"}}
        raw = {
            "transformations": [
                {"id": "joinByField", "options": {"byField": "ip"}},
                {"id": "filterByValue", "options": {"filters": [no_a], "match": "any", "type": "exclude"}},
                {"id": "organize", "options": organize},
            ],
            "options": {"sortBy": [{"displayName": "Value #A", "desc": True}]},
        }
        table = answers.transformed(boards.Panel("b", "b", "", raw), answers.tables(found))
        self.assertEqual(table.names[0], "Refused")
        self.assertEqual(
            [(row["ip"], row["Value #A"], row.get("Refused")) for row in table.rows],
            [("2", 7.0, 9.0), ("1", 5.0, None)],
        )


class LogQL(unittest.TestCase):
    LINES = [
        ({"app": "a", "stream": "stdout"}, [(1.0, "GET /x/1 200 0.5"), (2.0, "GET /x/2 500 1.5"), (3.0, "no request")]),
        ({"app": "b", "stream": "stdout"}, [(2.5, '{"client": "10.1.2.3", "status": 404}')]),
    ]
    REQUEST = r"| regexp `GET (?P<path>\S+) (?P<status>\d+) (?P<seconds>[\d.]+)`"

    def ask(self, query, end=10.0):
        return logql.ask(query, self.LINES, end)

    def test_lines(self):
        _, lines = self.ask('{app=~"a|c"} |= "GET" ' + self.REQUEST + " | status=~`5..`")
        self.assertEqual([(at, labels["path"]) for at, labels, _ in lines], [(2.0, "/x/2")])
        _, lines = self.ask('{stream="stdout"} | json | client=ip("10.0.0.0/8") | status > 400')
        self.assertEqual([labels["app"] for _, labels, _ in lines], ["b"])
        self.assertEqual(len(self.ask('{stream="stdout"} != "GET"')[1]), 2)

    def test_metrics(self):
        count = f'sum by (path) (count_over_time({{app="a"}} {self.REQUEST} | path != "" '
        one_path = '| label_format path=`{{ regexReplaceAll "/[0-9]+" .path "/*" }}` [5s]))'
        self.assertEqual(self.ask(count + one_path, 4.0)[0], [({"path": "/x/*"}, 2.0)])
        self.assertEqual(self.ask(count + one_path.replace("5s", "2500ms"), 4.0)[0], [({"path": "/x/*"}, 1.0)])
        seconds = f'quantile_over_time(0.5, {{app="a"}} {self.REQUEST} | unwrap seconds [10s]) by (app)'
        self.assertEqual(self.ask(seconds)[0], [({"app": "a"}, 1.0)])
        self.assertEqual(self.ask(f"{count}[10s])) > 1")[0], [])

    def test_what_is_not_understood_is_refused(self):
        for query in ('{a="b"} | pattern `<_>`', 'stddev_over_time({a="b"} [1m])', 'sum(rate({a="b"}[1m])) / 2'):
            with self.assertRaises(logql.Refused):
                self.ask(query)

    def test_templates(self):
        labels = {"a": "/x/12/y", "b": "", "action": "Warning"}
        for text, wanted in {
            "{{.a}} {{ .c }}!": "/x/12/y !",
            "{{ or .b .a }}": "/x/12/y",
            "{{ trunc -3 .a }}{{ trunc 2 .a }}": "2/y/x",
            '{{ if eq .action "Warning" }}noted {{.a}}{{ else }}blocked{{ end }}.': "noted /x/12/y.",
            '{{ regexReplaceAll "/([0-9]+)" .a "/<${1}>" }}': "/x/<12>/y",
        }.items():
            self.assertEqual(template.Template(text).filled(labels), wanted)
        with self.assertRaises(template.Unknown):
            template.Template("{{ len .a }}")

    def test_every_query_of_a_board_and_of_the_ruler_is_understood(self):
        queries = [rule["expr"] for rule in ruler.Ruler(REPOSITORY / "deploy/rules/loki").rules]
        for board in boards.read(REPOSITORY / "dashboards"):
            variables = boards.Variables(board.raw, lambda variable: ["a"], declared.CHOSEN, 100)
            for panel in board.panels:
                boards.fill(panel, variables)
                queries += [target.expr for target in panel.targets if target.language == "logql"]
        self.assertGreater(len(queries), 10)
        for query in queries:
            logql.Parser(query).parse()


class Container(unittest.TestCase):
    def test_lines_and_rotation(self):
        with tempfile.TemporaryDirectory() as folder:
            container = kubelet.Container(Path(folder), "pod", "app", rotate_bytes=10**9)
            container.write(b"x" * (kubelet.PIECE_MAX + 1))
            for second in range(7):
                container.write(b"line %d" % second, "stderr")
                container.rotate(f"20261121-02260{second}")
            container.finish()
            names = sorted(path.name for path in container.folder.iterdir())
            packed = [f"0.log.20261121-02260{n}.gz" for n in (3, 4, 5)]
            self.assertEqual(names, ["0.log", *packed, "0.log.20261121-022606"])
            with gzip.open(container.folder / packed[0]) as log:
                self.assertRegex(log.read().decode(), r"^\S+Z stderr F line 3\n$")
            self.assertEqual((container.count(), container.pieces), (8, 9))


class Telegram(unittest.TestCase):
    def test_is_as_strict_as_the_real_one(self):
        path = f"/bot{telegram.TOKEN}/sendMessage"

        def refused(text):
            return telegram.refusal(path, {"chat_id": telegram.CHAT, "text": text, "parse_mode": "HTML"})

        self.assertIsNone(refused('<b>a</b> &lt;b <a href="x">y</a>'))
        for text in ("<b>a", "a</b>", "<p>a</p>", "<b><i>a</b></i>", " ", "a" * 4097):
            self.assertIsNotNone(refused(text), text)


class Plan(unittest.TestCase):
    def test_is_the_same_every_time(self):
        first, second = traffic.Plan(REPOSITORY), traffic.Plan(REPOSITORY)
        self.assertEqual([vars(one) for one in first.requests], [vars(one) for one in second.requests])
        clients = {one.client for one in first.requests}
        self.assertLessEqual({traffic.BRUTE_FORCE, traffic.ATTACKER, traffic.SCANNER, traffic.HURRIED}, clients)


if __name__ == "__main__":
    unittest.main()

"""As much of LogQL as the boards' queries are written in, answered from the lines that the proof's Loki keeps.

Log queries with filters, `regexp`, `json`, `label_format`, `line_format` and `unwrap`; metric queries of one moment over
them, with aggregations. Regular expressions run in RE2, as Loki's do. Where Loki's rules are finer than what is written
here, the query is refused, not guessed at.
"""

import ipaddress
import json
import math
import re
from collections import defaultdict

import re2

import rules
from template import Template

TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?(?![\w.]))|(?P<duration>(?:\d+(?:ms|[smhdwy]))+)
    |(?P<word>[A-Za-z_]\w*)|(?P<sign>\|=|\|~|!=|!~|=~|==|>=|<=|[|={}()\[\],<>]))""",
    re.VERBOSE,
)
AGGREGATIONS = {"sum", "count", "min", "max", "avg", "topk", "bottomk"}
OVER_TIME = {"count_over_time", "rate", "sum_over_time", "max_over_time", "min_over_time", "avg_over_time"}
OVER_TIME |= {"quantile_over_time"}


class Refused(ValueError):
    """A query that is not understood here."""


class Line:
    """A log line on its way through a pipeline."""

    __slots__ = ("at", "text", "labels", "base", "value")

    def __init__(self, at, text, base):
        self.at, self.text, self.base, self.labels, self.value = at, text, base, dict(base), None

    def extract(self, name, value):
        """A label from the line; one of the stream's own is not overwritten."""
        self.labels[f"{name}_extracted" if name in self.base else name] = value


def unquote(token):
    return token[1:-1] if token[0] == "`" else json.loads(token)


class Parser:
    """Turns a query into a function of the streams, the moment and nothing else."""

    def __init__(self, query):
        self.tokens, at = [], 0
        query = query.strip()
        while at < len(query):
            found = TOKEN.match(query, at)
            if not found:
                raise Refused(f"at {query[at : at + 40]!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.place = 0

    def peek(self, ahead=0):
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def take(self, wanted=None):
        token = self.peek()
        if wanted is not None and token[1] != wanted:
            raise Refused(f"{token[1]!r} instead of {wanted!r}")
        self.place += 1
        return token[1]

    def parse(self):
        query = self.comparison()
        if self.peek()[0] != "end":
            raise Refused(f"{self.peek()[1]!r} after the end")
        return query

    def comparison(self):
        """A query, or those of its series that are beyond a bound, as rules have it."""
        query = self.expression()
        if self.peek()[1] not in (">", "<", ">=", "<="):
            return query
        sign, bound = self.take(), float(self.take())
        return lambda streams, end: [
            (labels, value) for labels, value in query(streams, end) if compare(sign, value, bound)
        ]

    def expression(self):
        kind, text = self.peek()
        if text == "{":
            return self.log_query()
        if text in AGGREGATIONS:
            return self.aggregation()
        if text in OVER_TIME:
            return self.over_time()
        raise Refused(f"{text!r}")

    def names(self):
        self.take("(")
        found = []
        while self.peek()[1] != ")":
            found.append(self.take())
            if self.peek()[1] == ",":
                self.take()
        self.take(")")
        return found

    def grouping(self):
        if self.peek()[1] != "by":
            return None
        self.take()
        return self.names()

    def aggregation(self):
        operation, by = self.take(), self.grouping()
        self.take("(")
        count = None
        if operation in ("topk", "bottomk"):
            count = int(self.take())
            self.take(",")
        inner = self.expression()
        self.take(")")
        by = by if by is not None else self.grouping()
        return lambda streams, end: aggregated(operation, count, by, inner(streams, end))

    def over_time(self):
        operation = self.take()
        self.take("(")
        quantile = None
        if operation == "quantile_over_time":
            quantile = float(self.take())
            self.take(",")
        query = self.log_query()
        self.take("[")
        seconds = rules.milliseconds(self.take()) / 1000
        self.take("]")
        self.take(")")
        by = self.grouping()
        return lambda streams, end: over_time(operation, quantile, by, seconds, query(streams, end, end - seconds))

    def log_query(self):
        matchers, stages = self.selector(), []
        while self.peek()[1] in ("|", "|=", "|~", "!=", "!~"):
            stages.append(self.stage())

        found = {}

        def run(streams, end, start=-math.inf):
            # What the stages make of a line is the same at every moment: they run once, the moments only choose.
            if id(streams) not in found:
                chosen = [one for one in streams if all(match(one[0].get(name, "")) for name, match in matchers)]
                lines = (Line(at, text, base) for base, texts in chosen for at, text in texts)
                found[id(streams)] = [line for line in lines if all(stage(line) for stage in stages)]
            return [line for line in found[id(streams)] if start < line.at <= end]

        return run

    def selector(self):
        self.take("{")
        found = []
        while self.peek()[1] != "}":
            name, sign, value = self.take(), self.take(), unquote(self.take())
            found.append((name, matcher(sign, value)))
            if self.peek()[1] == ",":
                self.take()
        self.take("}")
        return found

    def stage(self):
        sign = self.take()
        if sign != "|":
            return self.line_filter(sign)
        word = self.take()
        if word == "regexp":
            expression = re2.compile(unquote(self.take()))
            return lambda line: extract_by(expression, line)
        if word == "json":
            return self.json()
        if word in ("label_format", "line_format"):
            return self.format(word)
        if word == "unwrap":
            name = self.take()
            return lambda line: unwrap(name, line)
        return self.label_filters(word)

    def json(self):
        """`json`, or `json name="key"` for some keys of the first level."""
        names = {}
        while self.peek()[0] == "word" and self.peek(1)[1] == "=":
            name = self.take()
            self.take("=")
            names[name] = unquote(self.take())
            if self.peek()[1] == ",":
                self.take()
        return lambda line: extract_json(names, line)

    def label_filters(self, name):
        """Conditions that all hold."""
        found = [self.label_filter(name)]
        while self.peek()[1] == "and":
            self.take()
            found.append(self.label_filter(self.take()))
        return lambda line: all(one(line) for one in found)

    def line_filter(self, sign):
        if self.peek()[1] == "ip":
            found = self.address()
            return lambda line: any(found(one) for one in ADDRESS.findall(line.text)) == (sign == "|=")
        text = unquote(self.take())
        if sign in ("|=", "!="):
            return lambda line: (text in line.text) == (sign == "|=")
        expression = re2.compile(text)
        return lambda line: bool(expression.search(line.text)) == (sign == "|~")

    def address(self):
        """`ip("…")`: an address or a network."""
        self.take("ip")
        self.take("(")
        network = ipaddress.ip_network(unquote(self.take()), strict=False)
        self.take(")")

        def inside(text):
            try:
                return ipaddress.ip_address(text) in network
            except ValueError:
                return False

        return inside

    def label_filter(self, name):
        sign = self.take()
        if self.peek()[1] == "ip":
            inside = self.address()
            return lambda line: inside(line.labels.get(name, "")) == (sign == "=")
        kind, text = self.peek()
        self.take()
        if kind == "string":
            match = matcher(sign, unquote(text))
            return lambda line: match(line.labels.get(name, ""))
        if kind in ("number", "duration"):
            bound = float(text) if kind == "number" else rules.milliseconds(text) / 1000
            return lambda line: compare(sign, line.labels.get(name), bound)
        raise Refused(f"{name}{sign}{text}")

    def format(self, word):
        if word == "line_format":
            template = Template(unquote(self.take()))

            def line_format(line):
                line.text = template.filled(line.labels)
                return True

            return line_format
        formats = []
        while True:
            name = self.take()
            self.take("=")
            kind, text = self.peek()
            self.take()
            formats.append((name, Template(unquote(text) if kind == "string" else f"{{{{.{text}}}}}")))
            if self.peek()[1] != ",":
                break
            self.take()

        def label_format(line):
            # All of one stage see the labels that were there before it.
            line.labels |= {name: template.filled(line.labels) for name, template in formats}
            return True

        return label_format


ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)(?![\w:])")


def matcher(sign, value):
    if sign in ("=", "=="):
        return lambda text: text == value
    if sign == "!=":
        return lambda text: text != value
    expression = re2.compile(value)
    return lambda text: bool(expression.fullmatch(text)) == (sign == "=~")


def compare(sign, text, bound):
    try:
        value = float(text)
    except (TypeError, ValueError):
        return False
    signs = {">": value > bound, "<": value < bound, ">=": value >= bound, "<=": value <= bound}
    return {**signs, "=": value == bound, "==": value == bound, "!=": value != bound}[sign]


def extract_by(expression, line):
    found = expression.search(line.text)
    for name, value in (found.groupdict() if found else {}).items():
        if value:
            line.extract(name, value)
    return True


def extract_json(names, line):
    try:
        content = json.loads(line.text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        line.labels["__error__"] = "JSONParserErr"
        return True
    wanted = {name: content.get(key, "") for name, key in names.items()} if names else content
    for name, value in wanted.items():
        if not isinstance(value, (dict, list)):
            line.extract(re.sub(r"\W", "_", name), str(value))
    return True


def unwrap(name, line):
    """The value of a line becomes that of a label, which is then gone."""
    text = line.labels.pop(name, None)
    if text is None:
        return False
    try:
        line.value = float(text)
    except ValueError:
        line.labels["__error__"] = "SampleExtractionErr"
    return True


def grouped(labels, by):
    return tuple(sorted((name, value) for name, value in labels.items() if (by is None or name in by) and value))


def over_time(operation, quantile, by, seconds, lines):
    """Labels and value of each series that the lines of a window make."""
    series = defaultdict(list)
    for line in lines:
        if line.value is None and operation not in ("count_over_time", "rate"):
            raise Refused(f"{operation} without a value: {line.text[:100]}")
        series[grouped(line.labels, by)].append(line.value if line.value is not None else 1.0)
    reduce = {
        "count_over_time": len,
        "rate": lambda values: len(values) / seconds,
        "sum_over_time": sum,
        "max_over_time": max,
        "min_over_time": min,
        "avg_over_time": lambda values: sum(values) / len(values),
        "quantile_over_time": lambda values: interpolated(sorted(values), quantile),
    }[operation]
    return [(dict(labels), float(reduce(values))) for labels, values in series.items()]


def interpolated(values, quantile):
    place = (len(values) - 1) * quantile
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def aggregated(operation, count, by, rows):
    groups = defaultdict(list)
    for labels, value in rows:
        groups[grouped(labels, by or [])].append((labels, value))
    if operation in ("topk", "bottomk"):
        kept = []
        for members in groups.values():
            members.sort(key=lambda one: one[1], reverse=operation == "topk")
            kept += members[:count]
        return kept
    reduce = {"sum": sum, "count": len, "min": min, "max": max, "avg": lambda values: sum(values) / len(values)}[
        operation
    ]
    return [(dict(labels), float(reduce([value for _, value in members]))) for labels, members in groups.items()]


def streams(loki):
    """The kept lines by the labels of their stream; times in seconds."""
    found = []
    for text, lines in loki.lines.items():
        labels = {name: json.loads(value) for name, value in re.findall(r'(\w+)=("(?:\\.|[^"\\])*")', text)}
        found.append((labels, [(time / 1e9, line) for time, line in lines]))
    return found


def ask(query, kept, end, most=100):
    """Rows of a metric query, or the newest lines of a log query: one of the two lists is empty."""
    parser = Parser(query)
    is_log = parser.peek()[1] == "{"
    result = parser.parse()(kept, end)
    if not is_log:
        return sorted(result, key=lambda one: -one[1]), []
    lines = sorted(result, key=lambda line: line.at, reverse=True)
    return [], [(line.at, line.labels, line.text) for line in lines[:most]]

"""The stages of LogQL that our boards use, over lines in memory.

Expressions run in RE2, whose syntax and choices are those of Go, so of Loki.

It knows these and no others: a query with anything else is refused, so that no part of one goes untried.

    |= `text`   |= ip(`network`)   | regexp `…`   | label_format a=`template`, b=`template`   | unwrap label
    | label=`text`   != =~ !~   > number   = ip(`network`)
"""

import functools
import ipaddress
import json
import re
from dataclasses import dataclass

import re2

ADDRESS = re.compile(r"[0-9A-Fa-f:.]{3,}")


@dataclass
class Pipeline:
    """What stands between the braces, and the stages behind them with their kinds."""

    selector: dict
    stages: list

    def rows(self, lines, **stream):
        """The labels of each line that goes through, `stream` being those that it comes with."""
        for line in lines:
            labels = dict(stream)
            if all(stage(line, labels) for _, stage in self.stages):
                yield {name: value for name, value in labels.items() if value and name not in stream}


def pipeline(query):
    """The log pipeline of a query, be it the whole or within aggregations."""
    found = re.search(r"\{([^{}]*)\}", query)
    selector = {name: (how, value) for name, how, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', found[1])}
    stages, at = [], found.end()
    while stage := _next(query, at):
        kind, match = stage
        stages.append((kind, _STAGES[kind][1](match)))
        at = match.end()
    rest = query[at:].strip()
    if rest and not re.fullmatch(r"\[\w+\][ )a-z(,_]*", rest):
        raise ValueError(f"not understood: {rest!r}")
    return Pipeline(selector, stages)


def expressions(query):
    """The expressions of its `regexp` stages."""
    return re.findall(_STAGES["regexp"][0], query)


def _next(query, at):
    """The stage that begins there: its kind and what it says."""
    at = re.compile(r"\s*").match(query, at).end()
    for kind, (form, _) in _STAGES.items():
        if match := re.compile(form).match(query, at):
            return kind, match
    return None


def _has(found):
    return lambda line, labels: found["text"] in line


def _names(found):
    network = ipaddress.ip_network(found["network"])
    return lambda line, labels: any(_in(network, word) for word in ADDRESS.findall(line))


def _regexp(found):
    search = compiled(found["expression"]).search
    if not set(compiled(found["expression"]).groupindex):
        raise ValueError("regexp without a named group")

    def stage(line, labels):
        if match := search(line):
            labels.update({name: value or "" for name, value in match.groupdict().items()})
        return True

    return stage


def _label_format(found):
    formats = re.findall(r"(\w+)=`([^`]*)`", found["formats"])

    def stage(line, labels):
        labels.update({name: template(text, labels) for name, text in formats})
        return True

    return stage


def _unwrap(found):
    def stage(line, labels):
        float(labels.get(found["unwrapped"]) or "nan")
        return bool(labels.get(found["unwrapped"]))

    return stage


def _within(found):
    network = ipaddress.ip_network(found["wanted"])
    return lambda line, labels: _in(network, labels.get(found["address"], ""))


def _above(found):
    return lambda line, labels: float(labels.get(found["number"]) or 0) > float(found["bound"])


def _label(found):
    name, how = found["label"], found["compare"]
    wanted = found["raw"] if found["raw"] is not None else found["quoted"]
    if how in ("=", "!="):
        return lambda line, labels: (labels.get(name, "") == wanted) == (how == "=")
    fits = compiled(wanted).fullmatch
    return lambda line, labels: (fits(labels.get(name, "")) is not None) == (how == "=~")


_STAGES = {
    "has": (r"\|= `(?P<text>[^`]*)`", _has),
    "names": (r"\|= ip\(`(?P<network>[^`]*)`\)", _names),
    "regexp": (r"\| regexp `(?P<expression>[^`]*)`", _regexp),
    "label_format": (r"\| label_format (?P<formats>\w+=`[^`]*`(?:, \w+=`[^`]*`)*)", _label_format),
    "unwrap": (r"\| unwrap (?P<unwrapped>\w+)", _unwrap),
    "within": (r"\| (?P<address>\w+)=ip\(`(?P<wanted>[^`]*)`\)", _within),
    "above": (r"\| (?P<number>\w+)>(?P<bound>[\d.]+)", _above),
    "label": (r"""\| (?P<label>\w+)(?P<compare>=~|!~|!=|=)(?:`(?P<raw>[^`]*)`|"(?P<quoted>[^"\\]*)")""", _label),
}


def _in(network, text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == network.version and address in network


@functools.cache
def compiled(expression):
    return re2.compile(expression)


# ---- the few words of Go's templates that the boards use

_ACTION = re.compile(r"\{\{ (.*?) \}\}")
_CONDITION = re.compile(r'\{\{ if eq \.(\w+) "([^"]*)" \}\}(.*?)\{\{ else \}\}(.*?)\{\{ end \}\}')
_STRING = r'"(?:[^"\\]|\\.)*"'


def template(text, labels):
    """What a template writes; a label that is not there is empty."""
    text = _CONDITION.sub(lambda found: found[3] if labels.get(found[1], "") == found[2] else found[4], text)
    return _ACTION.sub(lambda found: _action(found[1], labels), re.sub(r"\{\{(\.\w+)\}\}", r"{{ \1 }}", text))


def _action(words, labels):
    label = lambda name: labels.get(name.removeprefix("."), "")
    if re.fullmatch(r"\.\w+", words):
        return label(words)
    if found := re.fullmatch(r"or ((?:\.\w+ ?)+)", words):
        return next((label(name) for name in found[1].split() if label(name)), "")
    if found := re.fullmatch(r"trunc -(\d+) (\.\w+)", words):
        return label(found[2])[-int(found[1]) :]
    if found := re.fullmatch(rf"regexReplaceAll ({_STRING}) (\.\w+) ({_STRING})", words):
        return compiled(json.loads(found[1])).sub(json.loads(found[3]), label(found[2]))
    raise ValueError(f"not understood: {words!r}")

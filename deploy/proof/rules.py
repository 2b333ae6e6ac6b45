"""The shipped rules with every duration shortened by one factor, so that alerts of minutes fire in seconds.

Only durations change: windows (`[5m]`), offsets, `for`, `keep_firing_for`, the groups' intervals, and what Alertmanager
waits. Expressions, thresholds, labels and texts stay as they are shipped. The same factor is applied to everything, so
what is long compared with something else stays so.
"""

import re

import yaml

FACTOR = 20

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
WINDOW = re.compile(rf"\[\s*({DURATION})\s*(?:(:)\s*({DURATION})?\s*)?\]")
OFFSET = re.compile(rf"\boffset(\s+-?\s*)({DURATION})")
RULE_KEYS = {"for", "keep_firing_for", "interval"}
WAITS = {"group_wait", "group_interval", "repeat_interval", "resolve_timeout"}


def milliseconds(text):
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def shorter(text):
    """A duration, divided by the factor; 0 stays 0, nothing else becomes 0."""
    before = milliseconds(text)
    return "0s" if before == 0 else f"{max(1, before // FACTOR)}ms"


def shorter_expression(expression):
    """Strings are left alone: a label may hold anything."""

    def window(found):
        step = shorter(found[3]) if found[3] else ""
        return f"[{shorter(found[1])}{':' + step if found[2] else ''}]"

    def code(text):
        return OFFSET.sub(lambda found: f"offset{found[1]}{shorter(found[2])}", WINDOW.sub(window, text))

    parts = re.split(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)""", expression)
    return "".join(code(part) if at % 2 == 0 else part for at, part in enumerate(parts))


def shorter_text(text):
    """A text for people; the queries in it, which stand between backticks, are shortened too, its words are not."""
    return re.sub(r"`[^`]*`", lambda query: f"`{shorter_expression(query[0][1:-1])}`", text)


def shorter_rules(document):
    """A file of rules."""
    for group in document["groups"]:
        if "interval" in group:
            group["interval"] = shorter(group["interval"])
        for rule in group["rules"]:
            rule["expr"] = shorter_expression(str(rule["expr"]))
            if "annotations" in rule:
                texts = rule["annotations"].items()
                rule["annotations"] = {name: shorter_text(text) for name, text in texts}
            for key in RULE_KEYS & set(rule):
                rule[key] = shorter(str(rule[key]))
    return document


def shorter_waits(node):
    """What Alertmanager waits, wherever it stands in its configuration."""
    if isinstance(node, list):
        for item in node:
            shorter_waits(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in WAITS:
                node[key] = shorter(value)
            else:
                shorter_waits(value)
    return node


def write_shorter(folder, into):
    """All files of rules in a folder, shortened; the paths of the copies and the groups."""
    groups, paths = [], []
    into.mkdir()
    for path in sorted(folder.glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        copy = into / path.name
        copy.write_text(yaml.safe_dump(shorter_rules(document), sort_keys=False, width=1000))
        paths.append(copy)
        groups += document["groups"]
    if not groups:
        raise SystemExit(f"no rules in {folder}")
    return paths, groups

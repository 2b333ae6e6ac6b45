"""The few words of Go's templates that the boards' LogQL uses."""

import json
import re

import re2

STRING = r'"(?:\\.|[^"\\])*"'
CONDITION = re.compile(
    rf"\{{\{{\s*if eq \.(\w+) ({STRING})\s*\}}\}}(.*?)\{{\{{\s*else\s*\}}\}}(.*?)\{{\{{\s*end\s*\}}\}}", re.S
)
ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}")
REPLACE = re.compile(rf"regexReplaceAll\s+({STRING})\s+\.(\w+)\s+({STRING})")
TRUNCATE = re.compile(r"trunc\s+(-?\d+)\s+\.(\w+)")
FIRST_OF = re.compile(r"(?:or\s+)?((?:\.\w+\s*)+)")


class Unknown(ValueError):
    """A word that is not known here."""


class Template:
    """Compiled once; labels that are not there are empty."""

    def __init__(self, text):
        self.parts, at = [], 0
        for found in CONDITION.finditer(text):
            self.parts += actions(text[at : found.start()])
            self.parts.append(choice(found[1], json.loads(found[2]), Template(found[3]), Template(found[4])))
            at = found.end()
        self.parts += actions(text[at:])

    def filled(self, labels):
        return "".join(part if isinstance(part, str) else part(labels) for part in self.parts)


def choice(name, wanted, then, otherwise):
    return lambda labels: (then if labels.get(name, "") == wanted else otherwise).filled(labels)


def actions(text):
    """Texts, and what stands between them in braces."""
    parts = ACTION.split(text)
    parts[1::2] = [action(part) for part in parts[1::2]]
    return parts


def action(text):
    if found := FIRST_OF.fullmatch(text):
        names = [name[1:] for name in found[1].split()]
        return lambda labels: next((labels[name] for name in names if labels.get(name)), "")
    if found := TRUNCATE.fullmatch(text):
        count, name = int(found[1]), found[2]
        return lambda labels: labels.get(name, "")[slice(count, None) if count < 0 else slice(count)]
    if found := REPLACE.fullmatch(text):
        expression, name, new = re2.compile(json.loads(found[1])), found[2], json.loads(found[3])
        new = re.sub(r"\$\{?(\d+)\}?", r"\\\1", new)
        return lambda labels: expression.sub(new, labels.get(name, ""))
    raise Unknown(text)

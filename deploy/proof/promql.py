"""Which metrics a query names: no parser, only what tells names from everything else."""

import re

STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)""")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
WINDOW = re.compile(r"\[[^\]]*\]")
NAME = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)")
NAMED = re.compile(r"__name__\s*=\s*(\"[^\"]*\"|'[^']*')")
WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS |= {"inf", "nan", "start", "end", "atan2"}


def metrics(expression):
    """Names of metrics in a PromQL expression, also those given as `__name__="…"`."""
    found = {name[1:-1] for name in NAMED.findall(expression)}
    text = STRING.sub('""', re.sub(r"#.*", "", expression) if "#" in STRING.sub("", expression) else expression)
    text = re.sub(r"\{[^{}]*\}", " ", text)
    text = GROUPING.sub(" ", WINDOW.sub(" ", text))
    for one in NAME.finditer(text):
        rest = text[one.end() :].lstrip()
        if not rest.startswith("(") and one[1].lower() not in WORDS and not re.fullmatch(r"\d.*", one[1]):
            found.add(one[1])
    return found


def in_templates(text):
    """The queries that stand between backticks in the text of an alert, its placeholders made some value."""
    return [re.sub(r"%[qsdv]", '""', query) for query in re.findall(r"`([^`]*)`", text) if "(" in query or "{" in query]

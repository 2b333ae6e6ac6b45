"""Queries of what the agent says of itself. It has no ingresses: the filters are the job and the instance alone."""

from .common import TARGET
from .common import rate as _rate
from .common import total as _total

# The books have a label `job` of their own, the job of weir's configuration.
BOOKS = 'instance=~"$instance"'
# All that became of the lines; it must be what was read.
ACCOUNTED = f'{{__name__=~"weir_lines_(counted_total|joined_total|refused_total|held)", {BOOKS}}}'


def rate(metric, labels="", by="", filters=TARGET):
    return _rate(metric, labels, by, filters)


def total(metric, labels="", by="", filters=TARGET):
    return _total(metric, labels, by, filters)


def gained(metric, by):
    """What a counter gains from one drawn moment to the next."""
    return f"sum by ({by}) (increase({metric}{{{TARGET}}}[$__rate_interval]))"


def own(expr):
    """Of weir's processes only: other programs have metrics of this name."""
    return f"{expr} and on (job, instance) weir_build_info{{{TARGET}}}"


def gauge(metric, how="sum", by="", filters=TARGET):
    return f"{how}{f' by ({by}) ' if by else ''}({metric}{{{filters}}})"

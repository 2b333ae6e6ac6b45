"""Numbers as Grafana shows them, by the unit of their panel."""

import math
import re
from datetime import datetime, timezone

BINARY = ["B", "KiB", "MiB", "GiB", "TiB"]
DECIMAL = ["", " K", " Mil", " Bil"]
RATES = {
    "reqps": " req/s",
    "ops": " ops/s",
    "cps": " /s",
    "wps": " wr/s",
    "rps": " rd/s",
    "eps": " ev/s",
    "hertz": " Hz",
}
DURATIONS = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")]
BYTES = {"bytes", "decbytes", "Bps", "binBps", "bps"}
SECONDS = {"s", "dtdurations", "clocks", "dthms"}


def units(unit):
    """What is round for a reader: numbers of seconds, minutes or KiB are."""
    if unit in BYTES:
        return [1024**power for power in range(4)]
    if unit in SECONDS:
        return [1e-3, 1, 60, 3600, 86400]
    return [1]


def short(value, decimals=None):
    """Three figures that matter."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def scaled(value, base, names):
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    return f"{short(value)}{names[step]}"


def duration(seconds):
    for size, name in DURATIONS:
        if abs(seconds) >= size:
            return f"{short(seconds / size)} {name}"
    return "0 s" if seconds == 0 else f"{seconds:.1e} s"


def shown(value, unit="short", decimals=None):
    """A value with its unit."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit in BYTES:
        return scaled(value, 1024, [f" {name}{'/s' if unit.endswith('ps') else ''}" for name in BINARY])
    if unit == "percentunit":
        return f"{short(value * 100, decimals)} %"
    if unit == "percent":
        return f"{short(value, decimals)} %"
    if unit in SECONDS:
        return duration(value)
    if unit == "ms":
        return duration(value / 1000)
    if unit in RATES:
        return short(value, decimals) + RATES[unit]
    if unit in ("dateTimeAsIso", "dateTimeFromNow", "dateTimeAsLocal"):
        return datetime.fromtimestamp(value / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")
    if unit in ("none", "string"):
        return short(value, decimals)
    if unit in ("short", "locale", "", None):
        return short(value, decimals) if abs(value) < 10_000 else scaled(value, 1000, DECIMAL)
    return f"{short(value, decimals)} {re.sub(r'^suffix:', '', unit)}"


def mapped(value, mappings):
    """The text that a panel has in the place of a value."""
    for mapping in mappings or []:
        if mapping["type"] == "value":
            for key in (short(value) if isinstance(value, float) else str(value), str(value)):
                if key in mapping["options"]:
                    return mapping["options"][key].get("text", key)
        elif mapping["type"] == "range" and isinstance(value, float):
            low, high = mapping["options"].get("from"), mapping["options"].get("to")
            if (low is None or value >= low) and (high is None or value <= high):
                return mapping["options"]["result"].get("text")
        elif mapping["type"] == "special" and mapping["options"].get("match") in ("null", "nan", "null+nan"):
            if isinstance(value, float) and math.isnan(value):
                return mapping["options"]["result"].get("text")
    return None

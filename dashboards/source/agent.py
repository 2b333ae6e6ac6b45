"""weir: what the agent costs, how far it is behind, and whether its books are right."""

from .agent_queries import ACCOUNTED, BOOKS, gained, gauge, own, rate, total
from .agent_rows import CLIENTS, GEOIP, SERIES, STATE
from .common import SOURCES, TARGET, TARGETS
from .grafana import board, event, mapping, prom, row, series, stat, table

GOOD_0 = [("green", None), ("red", 1)]


GLANCE = row(
    "At a glance",
    stat("Agents", "Agents that Prometheus reaches.", prom(f"count(weir_build_info{{{TARGET}}})"), w=3),
    stat(
        "Breaks",
        "Times in the time that is shown that a promise broke: lines may have been lost or counted twice. "
        "docs/promises.md says by which reason.",
        prom(total("weir_breaks_total") + " or vector(0)", instant=True),
        thresholds=GOOD_0,
        w=3,
    ),
    stat(
        "Books differ by",
        "Lines read that are neither counted, joined, refused nor held, over all agents. Anything but 0 is an error "
        "of weir's.",
        prom(
            f"max(abs(sum by (instance, job) (weir_lines_read_total{{{BOOKS}}})"
            f" - sum by (instance, job) ({ACCOUNTED})))"
        ),
        thresholds=GOOD_0,
        w=3,
    ),
    stat(
        "State",
        "Whether what is shown would survive a crash on every node. No: there is no state directory, or its disk "
        "fails.",
        prom(gauge("weir_state_durable", "min")),
        mappings=[mapping(_0="not durable", _1="durable")],
        thresholds=[("red", None), ("green", 1)],
        w=3,
    ),
    stat(
        "Configuration",
        "Whether the last attempt to load it succeeded on every node.",
        prom(gauge("weir_config_last_reload_successful", "min")),
        mappings=[mapping(_0="refused", _1="loaded")],
        thresholds=[("red", None), ("green", 1)],
        w=3,
    ),
    stat(
        "Behind",
        "Age of the oldest line that is written and not yet read, on the node that is furthest behind.",
        prom(gauge("weir_source_lag_seconds_max", "max")),
        unit="s",
        thresholds=[("green", None), ("orange", 30), ("red", 300)],
        w=3,
    ),
    stat(
        "Loki behind",
        "Age of the oldest entry that waits to be sent, on the node that is furthest behind.",
        prom(gauge("weir_client_oldest_pending_age_seconds", "max") + " or vector(0)"),
        unit="s",
        thresholds=[("green", None), ("orange", 60), ("red", 600)],
        w=3,
    ),
    stat(
        "Versions",
        "Agents by version.",
        prom(f"count by (version) (weir_build_info{{{TARGET}}})", "{{version}}"),
        text="value_and_name",
        w=3,
    ),
)

COST = row(
    "Cost",
    series(
        "Processor",
        "Cores that an agent uses.",
        prom(own(f"rate(process_cpu_seconds_total{{{TARGET}}}[$__rate_interval])"), "{{instance}}"),
        w=6,
    ),
    series(
        "Memory",
        "Resident memory of an agent.",
        prom(own(f"process_resident_memory_bytes{{{TARGET}}}"), "{{instance}}"),
        unit="bytes",
        w=6,
    ),
    series(
        "Processor time per million lines",
        "What a million lines cost. A file that two jobs read is read once and stands in the books of both.",
        prom(
            f"1e6 * sum by (instance) ({own(f'rate(process_cpu_seconds_total{{{TARGET}}}[$__rate_interval])')})"
            f" / on (instance) (sum by (instance) (rate(weir_lines_read_total{{{BOOKS}}}[$__rate_interval])) > 0)",
            "{{instance}}",
        ),
        unit="s",
        w=6,
    ),
    series(
        "Open files",
        "Of the process, and how many files of logs may be open at once.",
        prom(own(f"process_open_fds{{{TARGET}}}"), "{{instance}}"),
        prom(gauge("weir_files_open_max", "max"), "logs at most"),
        w=6,
    ),
    series(
        "Lines read",
        "Lines per second by weir's job.",
        prom(rate("weir_lines_read_total", by="job", filters=BOOKS), "{{job}}"),
        unit="short",
        stack=True,
    ),
    series(
        "Bytes read",
        "Bytes per second by weir's job.",
        prom(rate("weir_read_bytes_total", by="job", filters=BOOKS), "{{job}}"),
        unit="Bps",
        stack=True,
    ),
    series(
        "Scrapes",
        "Time to gather and write one scrape, on average.",
        prom(
            f"{rate('weir_scrape_duration_seconds_sum', by='instance')}"
            f" / on (instance) ({rate('weir_scrape_duration_seconds_count', by='instance')} > 0)",
            "{{instance}}",
        ),
        unit="s",
    ),
)

LAG = row(
    "How far behind the files",
    series(
        "Seconds",
        "Age of the oldest line that is written and not yet read.",
        prom(gauge("weir_source_lag_seconds_max", "max", "instance"), "{{instance}}"),
        unit="s",
        w=6,
    ),
    series(
        "Bytes",
        "Bytes not yet read, over all files of a node.",
        prom(gauge("weir_source_lag_bytes", "sum", "instance"), "{{instance}}"),
        unit="bytes",
        w=6,
    ),
    series(
        "Bytes of one file",
        "Bytes not yet read of the file that is furthest behind. If it grows past what the kubelet keeps, lines are "
        "lost.",
        prom(gauge("weir_source_lag_bytes_max", "max", "instance"), "{{instance}}"),
        unit="bytes",
        w=6,
    ),
    series(
        "Files",
        "Files being read by job; those closed until they grow, as too many are open; those that cannot be read.",
        prom(gauge("weir_sources_active", "sum", "job", BOOKS), "{{job}}"),
        prom(gauge("weir_files_asleep"), "asleep"),
        prom(gauge("weir_files_unreadable"), "unreadable"),
        prom(gauge("weir_directories_unreadable"), "directories unreadable"),
        w=6,
    ),
)

BOOKS_ROW = row(
    "Books and breaks",
    table(
        "Books",
        "Since the state began. read = counted + joined + refused + held, at every moment; the last column is what is "
        "missing.",
        *[
            prom(gauge(f"weir_lines_{name}", "sum", "instance, job", BOOKS), table=True)
            for name in ("read_total", "counted_total", "joined_total", "refused_total", "held")
        ],
        prom(
            f"sum by (instance, job) (weir_lines_read_total{{{BOOKS}}}) - sum by (instance, job) ({ACCOUNTED})",
            table=True,
        ),
        columns={
            "instance": "Node",
            "job": "Job",
            "Value #A": "Read",
            "Value #B": "Counted",
            "Value #C": "Joined",
            "Value #D": "Refused",
            "Value #E": "Held",
            "Value #F": "Difference",
        },
        first=[{"id": "merge", "options": {}}],
        w=14,
        h=9,
    ),
    series(
        "Breaks by reason",
        "When a promise broke. Each time may have cost lines; the reasons are in docs/promises.md.",
        prom(gained("weir_breaks_total", "reason, instance"), "{{instance}} {{reason}}"),
        prom(f"sum(increase(weir_breaks_total{{{TARGET}}}[$__rate_interval])) or vector(0)", "all"),
        bars=True,
        w=10,
        h=9,
    ),
    series(
        "Lines refused",
        "Lines per second that are not what the configuration says they are.",
        prom(rate("weir_lines_refused_total", by="job, reason", filters=BOOKS), "{{job}} {{reason}}"),
        w=6,
    ),
    series(
        "Lines dropped on purpose",
        "Lines per second that a stage dropped.",
        prom(rate("weir_lines_dropped_total", by="job, reason", filters=BOOKS), "{{job}} {{reason}}"),
        w=6,
    ),
    series(
        "Lines cut or held",
        "Lines per second cut at the limit, and lines that wait for the pieces that complete them.",
        prom(rate("weir_lines_cut_total", by="job", filters=BOOKS), "{{job}} cut/s"),
        prom(gauge("weir_lines_held", "sum", "job", BOOKS), "{{job}} held"),
        w=6,
    ),
    series(
        "Files that were not as they should be",
        "Per second: truncated or rewritten while they were read, damaged, and not to be read at all.",
        prom(rate("weir_files_restarted_total"), "begun again"),
        prom(rate("weir_files_broken_total"), "damaged"),
        prom(rate("weir_files_refused_total", by="reason"), "{{reason}}"),
        prom(rate("weir_nul_bytes_total"), "NUL bytes"),
        w=6,
    ),
)


def made():
    loaded = event(
        "Configuration loaded",
        f"max by (instance) (weir_config_last_reload_success_timestamp_seconds{{{TARGET}}}) * 1000",
        "blue",
        titleFormat="configuration loaded",
        textFormat="{{instance}}",
        useValueForTime=True,
        step="60s",
    )
    return board(
        "weir-agent",
        "weir",
        "What the agent costs, how far it is behind, and whether its books are right.",
        [*SOURCES, *TARGETS],
        GLANCE,
        COST,
        LAG,
        BOOKS_ROW,
        SERIES,
        CLIENTS,
        GEOIP,
        STATE,
        annotations=[loaded],
        begin="now-3h",
    )

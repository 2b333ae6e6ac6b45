"""weir: what the agent costs, how far it is behind, and whether its books are right."""

from .common import SOURCES, TARGET, TARGETS
from .common import rate as _rate
from .common import total as _total
from .grafana import board, event, mapping, prom, row, series, stat, table

# The books have a label `job` of their own, the job of weir's configuration.
BOOKS = 'instance=~"$instance"'
# All that became of the lines; it must be what was read.
ACCOUNTED = f'{{__name__=~"weir_lines_(counted_total|joined_total|refused_total|held)", {BOOKS}}}'
GOOD_0 = [("green", None), ("red", 1)]


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

SERIES = row(
    "Series and their caps",
    series(
        "Living series",
        "Series of the metrics that the configuration counts, over all nodes.",
        prom(gauge("weir_metric_series", "sum", "metric"), "{{metric}}"),
        stack=True,
        w=9,
    ),
    series(
        "Counted as __other__",
        "Updates per second without a series of their own, as their metric holds its maximum: sums stay right, "
        "clients are no longer told apart.",
        prom(rate("weir_series_limited_total", by="metric"), "{{metric}}"),
        prom(rate("weir_label_values_limited_total", by="metric, label"), "{{metric}} {{label}}"),
        w=9,
    ),
    series(
        "Promoted and refused",
        "Label sets per second that came often and got a series of their own, and updates refused.",
        prom(rate("weir_series_promoted_total", by="metric"), "{{metric}} promoted"),
        prom(rate("weir_metric_updates_refused_total", by="metric, reason"), "{{metric}} {{reason}}"),
        w=6,
    ),
)

CLIENTS = row(
    "Loki",
    series(
        "Entries",
        "Entries per second for each client of the configuration, and those that its server acknowledged.",
        prom(rate("weir_client_entries_total", by="client"), "{{client}}"),
        prom(rate("weir_client_acknowledged_entries_total", by="client"), "{{client}} acknowledged"),
    ),
    series(
        "Waiting",
        "Age of the oldest entry that waits.",
        prom(gauge("weir_client_oldest_pending_age_seconds", "max", "client, instance"), "{{client}} {{instance}}"),
        unit="s",
    ),
    series(
        "Entries waiting",
        "Entries that wait, in memory and in the spool.",
        prom(gauge("weir_client_pending_entries", "sum", "client, instance"), "{{client}} {{instance}}"),
    ),
    series(
        "Never delivered",
        "Entries per second that the server will never have, by reason, and entries kept to be looked at.",
        prom(rate("weir_client_dropped_entries_total", by="client, reason"), "{{client}} {{reason}}"),
        prom(gauge("weir_client_dead_letters", "sum", "client"), "{{client}} dead letters"),
        w=6,
    ),
    series(
        "Answers",
        "Requests per second by the code of the answer; -1: none came.",
        prom(rate("weir_client_requests_total", by="client, code"), "{{client}} {{code}}"),
        prom(rate("weir_client_retries_total", by="client, code"), "{{client}} {{code}} repeated"),
        unit="reqps",
        w=6,
    ),
    series(
        "What waits where",
        "Bytes of lines that wait, of batches in memory, and of the files of the spool.",
        prom(gauge("weir_client_pending_bytes", "sum", "client"), "{{client}} waiting"),
        prom(gauge("weir_client_memory_bytes", "sum", "client"), "{{client}} in memory"),
        prom(gauge("weir_client_spool_bytes", "sum", "client"), "{{client}} spool"),
        unit="bytes",
        w=6,
    ),
    series(
        "Trouble",
        "Tenants whose pushes fail, failures to write the spool per second, and how far the server's clock is ahead "
        "in seconds.",
        prom(gauge("weir_client_failing_tenants", "sum", "client"), "{{client}} failing tenants"),
        prom(rate("weir_client_spool_failures_total", by="client"), "{{client}} spool failures"),
        prom(gauge("weir_client_clock_skew_seconds", "max", "client"), "{{client}} clock ahead"),
        defaults={"min": None},
        w=6,
    ),
)

GEOIP = row(
    "Countries",
    table(
        "Databases",
        "Whether a database is loaded, and its age. Old ones put addresses into the wrong country.",
        prom(gauge("weir_geoip_database_loaded", "min", "instance, file"), table=True),
        prom(
            f"time() - max by (instance, file) (weir_geoip_database_build_timestamp_seconds{{{TARGET}}} > 0)",
            table=True,
        ),
        columns={"instance": "Node", "file": "File", "Value #A": "Loaded", "Value #B": "Age"},
        first=[{"id": "merge", "options": {}}],
        units={"Age": "s"},
        w=12,
        h=7,
    ),
    series(
        "Lookups",
        "Addresses per second by whether the database has them. The private ones of a cluster are not in it.",
        prom(rate("weir_geoip_lookups_total", by="result"), "{{result}}"),
        unit="ops",
        w=6,
        h=7,
    ),
    series(
        "Databases taken up",
        "Attempts to load a changed file.",
        prom(gained("weir_geoip_reloads_total", "result"), "{{result}}"),
        bars=True,
        w=6,
        h=7,
    ),
)

STATE = row(
    "State, discovery and the page of metrics",
    series(
        "Cuts",
        "Cuts written to the state directory per second, images of the whole state, and cuts that could not be "
        "written.",
        prom(rate("weir_state_commits_total"), "cuts"),
        prom(rate("weir_state_snapshots_total"), "whole images"),
        prom(rate("weir_state_commit_failures_total"), "failures"),
        unit="ops",
        w=6,
    ),
    series(
        "Time of a cut",
        "Writing and syncing of one.",
        prom(
            f"{rate('weir_state_commit_seconds_total', by='instance')} / on (instance) "
            f"({rate('weir_state_commits_total', by='instance')} > 0)",
            "{{instance}}",
        ),
        unit="s",
        w=6,
    ),
    series(
        "Bytes written",
        "Into the state directory, per second: what an SD card must bear.",
        prom(rate("weir_state_written_bytes_total", by="instance"), "{{instance}}"),
        unit="Bps",
        w=6,
    ),
    series(
        "Age of the configuration",
        "Age of the loaded configuration, and how long a newborn series is shown as 0.",
        prom(
            f"time() - min by (instance) (weir_config_last_reload_success_timestamp_seconds{{{TARGET}}})",
            "{{instance}}",
        ),
        prom(gauge("weir_birth_hold_seconds", "max"), "birth hold"),
        unit="s",
        w=6,
    ),
    series(
        "Targets",
        "Targets found and kept, pods that the Kubernetes API has, and whether there are more than may be (1).",
        prom(gauge("weir_targets_active"), "targets"),
        prom(gauge("weir_discovery_kubernetes_pods"), "pods"),
        prom(gauge("weir_discovery_truncated", "max"), "too many"),
        prom(gauge("weir_pod_directories_malformed"), "odd directories"),
        w=6,
    ),
    series(
        "Targets left out",
        "Targets per second that were found and are not read, by reason; one that stays so counts once.",
        prom(rate("weir_targets_dropped_total", by="reason"), "{{reason}}"),
        prom(rate("weir_targets_dropped_total") + " or vector(0)", "all"),
        w=6,
    ),
    series(
        "Kubernetes API",
        "Time since it last said something of use; lists and watches begun again per second. Only with discovery by "
        "the API.",
        prom(gauge("weir_discovery_kubernetes_last_sync_age_seconds", "max", "instance"), "{{instance}}"),
        prom(rate("weir_discovery_kubernetes_restarts_total", by="reason"), "{{reason}}/s"),
        unit="s",
        w=6,
    ),
    series(
        "Connections and scrapes",
        "Connections to the agent per second by what became of them, and scrapes answered.",
        prom(rate("weir_http_connections_total", by="result"), "{{result}}"),
        prom(rate("weir_scrapes_total"), "scrapes"),
        unit="ops",
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

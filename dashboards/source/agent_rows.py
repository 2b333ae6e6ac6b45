"""Rows of the board weir: what becomes of what was read. Series, Loki, countries, the state and the page of metrics."""

from .agent_queries import gained, gauge, rate
from .common import TARGET
from .grafana import prom, row, series, table

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
        "Entries that wait, in memory and in the spool, and those of streams that Loki has no room for.",
        prom(gauge("weir_client_pending_entries", "sum", "client, instance"), "{{client}} {{instance}}"),
        prom(gauge("weir_client_set_aside_entries", "sum", "client"), "{{client}} set aside"),
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

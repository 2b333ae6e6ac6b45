"""Traffic: what each ingress carries, how fast it answers and with what."""

from .common import CLASS_COLOURS, CONTROLLERS, INGRESS, INGRESSES, SOURCES, TARGETS, quantile, rate, total
from .grafana import LOKI, bars, board, choice, event, heatmap, loki, prom, row, series, stat, table
from .lines import ACCESS, ERRORS, METHOD, ONE_PATH, PATH, STATUS, TOOK
from .lines import CLIENT as LINE_CLIENT
from .lines import INGRESS as INGRESS_NAME

REQUESTS = "weir_http_requests_total"
DURATIONS = "weir_http_request_duration_seconds"
UPSTREAM = "weir_http_upstream_duration_seconds"
NAME = "{{namespace}}/{{ingress}}"
BY = "namespace, ingress"


def over_range(share, by=""):
    """A quantile over the whole range that is shown."""
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({by}) (increase({DURATIONS}_bucket{{{INGRESS}}}[$__range])))"


def failing(by=""):
    """5xx as a share of all; 0 where there are none."""
    every = rate(REQUESTS, by=by)
    on = f" on ({by})" if by else ""
    return f"""({rate(REQUESTS, 'status=~"5.."', by)} or{on} {every} * 0) /{on} {every}"""


GLANCE = row(
    "At a glance",
    stat("Requests per second", "Present rate.", prom(rate(REQUESTS)), unit="reqps"),
    stat(
        "Failing (5xx)",
        "Answers 5xx as a share of all, in the time that is shown.",
        prom(f"""({total(REQUESTS, 'status=~"5.."')} or vector(0)) / {total(REQUESTS, "")}""", instant=True),
        unit="percentunit",
        defaults={"decimals": 2},
        thresholds=[("green", None), ("orange", 0.01), ("red", 0.05)],
    ),
    stat(
        "Median",
        "Half of the requests in the time that is shown took less.",
        prom(over_range(0.5), instant=True),
        unit="s",
    ),
    stat(
        "99th percentile",
        "One request of a hundred in the time that is shown took longer. 10 s is the last bound: it means 10 s or "
        "more.",
        prom(over_range(0.99), instant=True),
        unit="s",
    ),
    stat("Sent", "Response bodies per second.", prom(rate("weir_http_response_bytes_total")), unit="Bps"),
    stat("Received", "Requests, head and body, per second.", prom(rate("weir_http_request_bytes_total")), unit="Bps"),
)

INGRESS_ROW = row(
    "Ingresses",
    table(
        "Ingresses",
        "Each ingress in the time that is shown. Without a name: requests that no ingress took, and all where the "
        "controller writes its text format.",
        prom(total(REQUESTS, "", BY), table=True),
        prom(
            f"""({total(REQUESTS, 'status=~"5.."', BY)} or on ({BY}) {total(REQUESTS, "", BY)} * 0)"""
            f" / on ({BY}) {total(REQUESTS, '', BY)}",
            table=True,
        ),
        prom(over_range(0.5, BY), table=True),
        prom(over_range(0.9, BY), table=True),
        prom(over_range(0.99, BY), table=True),
        prom(total("weir_http_response_bytes_total", "", BY), table=True),
        prom(total("weir_http_request_bytes_total", "", BY), table=True),
        columns={
            "namespace": "Namespace",
            "ingress": "Ingress",
            "Value #A": "Requests",
            "Value #B": "5xx",
            "Value #C": "Median",
            "Value #D": "90 %",
            "Value #E": "99 %",
            "Value #F": "Sent",
            "Value #G": "Received",
        },
        first=[{"id": "merge", "options": {}}],
        sort="Requests",
        units={
            "5xx": "percentunit",
            "Median": "s",
            "90 %": "s",
            "99 %": "s",
            "Sent": "bytes",
            "Received": "bytes",
        },
        defaults={"decimals": None},
        w=24,
        h=9,
    ),
    series("Requests", "Requests per second by ingress.", prom(rate(REQUESTS, by=BY), NAME), unit="reqps", stack=True),
    series(
        "Failing by ingress (5xx)",
        "Answers 5xx as a share of all answers of the ingress.",
        prom(failing(BY), NAME),
        unit="percentunit",
    ),
    series(
        "99th percentile by ingress",
        "One request of a hundred took longer.",
        prom(quantile(0.99, DURATIONS, BY), NAME),
        unit="s",
    ),
)

LATENCY = row(
    "Latency",
    series(
        "Percentiles",
        "From the first byte of the request to the last of the answer, slow clients included.",
        prom(quantile(0.5, DURATIONS), "50 %"),
        prom(quantile(0.9, DURATIONS), "90 %"),
        prom(quantile(0.99, DURATIONS), "99 %"),
        unit="s",
    ),
    series(
        "Percentiles of upstreams",
        "What the applications took, all attempts of a request together. Where it is much below the whole, the time "
        "goes into the network or the client.",
        prom(quantile(0.5, UPSTREAM), "50 %"),
        prom(quantile(0.9, UPSTREAM), "90 %"),
        prom(quantile(0.99, UPSTREAM), "99 %"),
        unit="s",
    ),
    heatmap(
        "Durations",
        "Requests by how long they took.",
        prom(f"sum by (le) (increase({DURATIONS}_bucket{{{INGRESS}}}[$__rate_interval]))", "{{le}}", heatmap=True),
    ),
)

ANSWERS = row(
    "Answers and bytes",
    series(
        "Status classes",
        "Requests per second by the class of the answer.",
        prom(
            f"sum by (class) (label_replace(rate({REQUESTS}{{{INGRESS}}}[$__rate_interval]), "
            '"class", "${1}xx", "status", "(.).."))',
            "{{class}}",
        ),
        unit="reqps",
        stack=True,
        overrides=CLASS_COLOURS,
    ),
    series(
        "Errors by status",
        "Answers 4xx and 5xx per second.",
        prom(rate(REQUESTS, 'status=~"[45].."', "status"), "{{status}}"),
        unit="reqps",
        stack=True,
    ),
    series("Methods", "Requests per second by method.", prom(rate(REQUESTS, by="method"), "{{method}}"), unit="reqps"),
    series(
        "Sent by ingress",
        "Response bodies per second.",
        prom(rate("weir_http_response_bytes_total", by=BY), NAME),
        unit="Bps",
        stack=True,
    ),
    series(
        "Received by ingress",
        "Requests, head and body, per second.",
        prom(rate("weir_http_request_bytes_total", by=BY), NAME),
        unit="Bps",
        stack=True,
    ),
    bars(
        "Services",
        "Requests in the time that is shown by the service that answered; in the text format nginx' name for it.",
        prom(f"topk(15, {total(REQUESTS, '', 'service')})", "{{service}}", instant=True),
    ),
)

LINES = f"{ACCESS} {PATH} | path!=``"
TIMED = f"{LINES} {TOOK} {INGRESS_NAME} {ONE_PATH} | unwrap took | __error__=``"
BY_PATH = "sum by (ingress, path)"
PATHS = row(
    "Paths, from the lines in Loki",
    table(
        "Slow paths",
        "The 25 paths with the highest 99th percentile in the time that is shown. Numbers and long identifiers of a "
        "path are shown as *, so that they are one path.",
        loki(f"topk(25, quantile_over_time(0.99, {TIMED} [$__range]) by (ingress, path))", instant=True),
        columns={"ingress": "Ingress", "path": "Path", "Value #A": "99 %"},
        unit="s",
        sort="99 %",
        defaults={"decimals": None},
        widths={"99 %": 90},
        w=8,
        h=11,
    ),
    table(
        "Where the time goes",
        "The 25 paths that took most time together.",
        loki(f"topk(25, {BY_PATH} (sum_over_time({TIMED} [$__range])))", instant=True),
        columns={"ingress": "Ingress", "path": "Path", "Value #A": "Together"},
        unit="s",
        sort="Together",
        defaults={"decimals": None},
        widths={"Together": 90},
        w=8,
        h=11,
    ),
    table(
        "Failing paths",
        "The 25 paths with most answers 5xx and 404.",
        loki(
            f"topk(25, sum by (ingress, path, status) (count_over_time({LINES} {STATUS} | status=~`5..|404` "
            f"{INGRESS_NAME} {ONE_PATH} [$__range])))",
            instant=True,
        ),
        columns={"ingress": "Ingress", "path": "Path", "status": "Status", "Value #A": "Requests"},
        sort="Requests",
        widths={"Status": 70, "Requests": 90},
        w=8,
        h=11,
    ),
    table(
        "Slow requests",
        "The last 200 requests that took longer than $slow seconds.",
        loki(
            f"{LINES} {TOOK} | took>$slow {INGRESS_NAME} {METHOD} {STATUS} {LINE_CLIENT}",
            lines=200,
        ),
        columns={
            "Time": "Time",
            "took": "Seconds",
            "ingress": "Ingress",
            "method": "Method",
            "path": "Path",
            "status": "Status",
            "client": "Client",
        },
        first=[{"id": "extractFields", "options": {"source": "labels", "format": "auto", "keepTime": True}}],
        w=24,
        h=10,
    ),
)


def made():
    annotations = [
        event(
            "Deployments",
            'max by (namespace, replicaset) (kube_replicaset_created{namespace=~"$namespace"}) * 1000',
            "blue",
            titleFormat="rollout",
            textFormat="{{namespace}}/{{replicaset}}",
            useValueForTime=True,
            step="60s",
        ),
        event(
            "Configurations of nginx",
            f"{ERRORS} |= `Backend successfully reloaded`",
            "purple",
            source=LOKI,
            titleFormat="nginx reloaded",
            textFormat="{{pod}}",
            enable=False,
        ),
    ]
    return board(
        "weir-traffic",
        "Traffic",
        "What each ingress carries, how fast it answers and with what; slow paths from the lines in Loki.",
        [
            *SOURCES,
            *TARGETS,
            *INGRESSES,
            *CONTROLLERS,
            choice("slow", "Slow from (s)", ["0.5", "1", "2", "5", "10"], "1", kind="custom"),
        ],
        GLANCE,
        INGRESS_ROW,
        LATENCY,
        ANSWERS,
        PATHS,
        annotations=annotations,
    )

"""HTTP requests and clients: who asks, from where, for what, with which answer."""

from .common import (
    ATTRIBUTION,
    CLASS_COLOURS,
    CLIENT,
    CONTROLLERS,
    INGRESS,
    INGRESSES,
    SOURCES,
    TARGET,
    TARGETS,
    TO_CLIENT,
    rate,
    total,
)
from .grafana import bars, board, choice, countries, logs, loki, prom, row, series, stat, table
from .lines import ACCESS, AGENT, EVERYTHING, METHOD, PATH, STATUS, TOOK, waf
from .lines import CLIENT as LINE_CLIENT
from .lines import INGRESS as INGRESS_NAME

BY_CLIENT = "weir_http_client_requests_total"
BY_INGRESS = "weir_http_client_ingress_requests_total"
BY_CLASS = "weir_http_client_status_requests_total"
NAMED = 'client_ip!=""'


def heaviest(metric, labels, by, filters=INGRESS):
    """Over the last `$window`, of the `$top` that had most of it in the whole range: the same series at each moment."""
    matchers = f"{filters}, {NAMED}{labels}"
    return (
        f"sum by ({by}) (increase({metric}{{{matchers}}}[$window])) > 0"
        f" and on ({by}) topk($top, sum by ({by}) (increase({metric}{{{matchers}}}[$__range] @ end())))"
    )


GLANCE = row(
    "At a glance",
    stat("Requests", "Requests in the time that is shown.", prom(total("weir_http_requests_total", ""), instant=True)),
    stat("Requests per second", "Present rate.", prom(rate("weir_http_requests_total")), unit="reqps"),
    stat(
        "Clients",
        "Addresses (IPv4) and /64 networks (IPv6) with requests in the time that is shown. Up to max_series of the "
        "metric, past which new ones are counted together as __other__. Of all ingresses.",
        prom(f"count(sum by (client_ip) (increase({BY_CLIENT}{{{TARGET}, {NAMED}}}[$__range])) > 0)", instant=True),
    ),
    stat(
        "Refused by the WAF",
        "Requests that ModSecurity denied in the time that is shown.",
        prom(total("weir_waf_blocked_requests_total", "") + " or vector(0)", instant=True),
        thresholds=[("green", None), ("orange", 1)],
    ),
    stat(
        "Rate limited (429)",
        "Requests answered with 429 in the time that is shown.",
        prom(total("weir_http_rate_limited_total", "") + " or vector(0)", instant=True),
        thresholds=[("green", None), ("orange", 1)],
    ),
    stat(
        "Unknown clients",
        "Share of the requests whose client is a private address or a proxy. If it is large, you are counting your "
        "proxy: see trusted_proxies in docs/stages.md.",
        prom(
            f"({total('weir_http_private_clients_total', '')} or vector(0)) / {total('weir_http_requests_total', '')}",
            instant=True,
        ),
        unit="percentunit",
        thresholds=[("green", None), ("orange", 0.2), ("red", 0.5)],
    ),
)

CLIENTS = row(
    "Clients, in the last $window before each moment",
    series(
        "Requests by client",
        "The busiest clients, of all ingresses: this metric has neither namespace nor ingress, and so room for more "
        "clients.",
        prom(heaviest(BY_CLIENT, "", "client_ip", TARGET), "{{client_ip}}"),
    ),
    series(
        "Requests by client and ingress",
        "The busiest clients, and where they go.",
        prom(heaviest(BY_INGRESS, "", "client_ip, namespace, ingress"), "{{client_ip}} {{namespace}}/{{ingress}}"),
    ),
    series(
        "Requests refused by the WAF",
        "Requests that ModSecurity denied, by client. One request counts once, however many rules matched.",
        prom(heaviest("weir_waf_blocked_requests_total", "", "client_ip, country"), "{{client_ip}} {{country}}"),
    ),
    series(
        "Successful requests",
        "Answers 2xx and 3xx by client; all ingresses.",
        prom(heaviest(BY_CLASS, ', status_class=~"2xx|3xx"', "client_ip", TARGET), "{{client_ip}}"),
    ),
    series(
        "Failed requests",
        "Answers 4xx and 5xx by client; all ingresses.",
        prom(
            heaviest(BY_CLASS, ', status_class=~"4xx|5xx"', "client_ip, status_class", TARGET),
            "{{client_ip}} {{status_class}}",
        ),
    ),
    series(
        "Rate-limited requests",
        "Answers 429 by client and ingress.",
        prom(
            heaviest("weir_http_rate_limited_total", "", "client_ip, namespace, ingress"),
            "{{client_ip}} {{namespace}}/{{ingress}}",
        ),
    ),
)

BY_COUNTRY = "weir_http_country_requests_total"
WHERE = row(
    "Where from",
    countries(
        "Requests by country",
        "Requests in the time that is shown, by the country of the client's address. All ingresses.",
        total(BY_COUNTRY, 'country!="", country!="__other__"', "country", TARGET),
        w=14,
        h=12,
    ),
    table(
        "Countries",
        "Requests in the time that is shown, and the share of them that failed (4xx, 5xx). Without a country: private "
        "addresses, and what the database does not know. Of all ingresses.",
        prom(total(BY_COUNTRY, "", "country", TARGET), table=True),
        prom(
            total(BY_COUNTRY, 'status_class=~"4xx|5xx"', "country", TARGET)
            + " / on (country) "
            + total(BY_COUNTRY, "", "country", TARGET),
            table=True,
        ),
        columns={"country": "Country", "Value #A": "Requests", "Value #B": "Failed"},
        join="country",
        sort="Requests",
        units={"Failed": "percentunit"},
        w=10,
        h=12,
    ),
)

TOP = f"topk(50, {total(BY_CLIENT, NAMED, 'client_ip, country', TARGET)})"


def of_top(expr):
    return f"({expr}) and on (client_ip) {TOP}"


WHO = row(
    "Who",
    table(
        "Top clients",
        "The 50 busiest clients in the time that is shown, the ingress that they asked most, and what they were "
        "answered. Requests and classes are of all ingresses. A click on a client shows its requests below.",
        prom(TOP, table=True),
        prom(
            of_top(f"topk by (client_ip) (1, {total(BY_INGRESS, NAMED, 'client_ip, namespace, ingress')})"), table=True
        ),
        *[
            prom(of_top(total(BY_CLASS, f'{NAMED}, status_class="{n}xx"', "client_ip", TARGET)), table=True)
            for n in range(2, 6)
        ],
        prom(of_top(total("weir_http_auth_failures_total", NAMED, "client_ip")), table=True),
        prom(of_top(total("weir_http_rate_limited_total", NAMED, "client_ip")), table=True),
        prom(of_top(total("weir_waf_blocked_requests_total", NAMED, "client_ip")), table=True),
        columns={
            "client_ip": "Client",
            "country": "Country",
            "Value #A": "Requests",
            "namespace": "Namespace",
            "ingress": "Ingress asked most",
            "Value #B": "of them there",
            "Value #C": "2xx",
            "Value #D": "3xx",
            "Value #E": "4xx",
            "Value #F": "5xx",
            "Value #G": "401",
            "Value #H": "429",
            "Value #I": "Refused by the WAF",
        },
        join="client_ip",
        sort="Requests",
        links={"Client": TO_CLIENT},
        widths={"Client": 220, "Country": 90},
        w=24,
        h=12,
    ),
)

ANSWERS = row(
    "Answers",
    series(
        "Status classes",
        "Requests per second by the class of the answer.",
        prom(
            "sum by (class) (label_replace(rate(weir_http_requests_total{" + INGRESS + "}[$__rate_interval]), "
            '"class", "${1}xx", "status", "(.).."))',
            "{{class}}",
        ),
        unit="reqps",
        stack=True,
        overrides=CLASS_COLOURS,
    ),
    bars(
        "Status codes",
        "Answers in the time that is shown.",
        prom(f"topk(15, {total('weir_http_requests_total', '', 'status')})", "{{status}}", instant=True),
    ),
    series(
        "Failed logins (401)",
        "Answers 401 by client and ingress: many of one client are somebody who tries passwords.",
        prom(
            heaviest("weir_http_auth_failures_total", "", "client_ip, namespace, ingress"),
            "{{client_ip}} {{namespace}}/{{ingress}}",
        ),
    ),
)

ONE = f'{TARGET}, client_ip="$client_ip"'
NAMES_CLIENT = "|= ip(`$client_ip`)"
OF_CLIENT = "| client=ip(`$client_ip`)"
ONE_CLIENT = row(
    "One client: $client_ip",
    series(
        "Its requests by ingress",
        "Requests of $client_ip in the last $window before each moment.",
        prom(
            f"sum by (namespace, ingress) (increase({BY_INGRESS}{{{ONE}}}[$window]))",
            "{{namespace}}/{{ingress}}",
        ),
        stack=True,
    ),
    series(
        "Its answers",
        "Answers to $client_ip in the last $window before each moment, by class.",
        prom(f"sum by (status_class) (increase({BY_CLASS}{{{ONE}}}[$window]))", "{{status_class}}"),
        stack=True,
        overrides=CLASS_COLOURS,
    ),
    series(
        "Its events of the WAF",
        "Rules that matched in requests of $client_ip in the last $window before each moment.",
        prom(f"sum by (action) (increase(weir_waf_client_events_total{{{ONE}}}[$window]))", "{{action}}"),
        stack=True,
    ),
    table(
        "Its last requests",
        "The last 200 access lines of $client_ip that Loki has: of an address, or of every address of a network.",
        loki(
            f"{ACCESS} {NAMES_CLIENT} {LINE_CLIENT} {OF_CLIENT} {METHOD} {PATH} {STATUS} {TOOK} {INGRESS_NAME} {AGENT}",
            lines=200,
        ),
        columns={
            "Time": "Time",
            "client": "Client",
            "ingress": "Ingress",
            "method": "Method",
            "path": "Path",
            "status": "Status",
            "took": "Seconds",
            "agent": "User agent",
        },
        first=[{"id": "extractFields", "options": {"source": "labels", "format": "auto", "keepTime": True}}],
        w=24,
        h=10,
    ),
    table(
        "Its last events of the WAF",
        "The last 200 ModSecurity lines of $client_ip that Loki has.",
        loki(f"{waf(NAMES_CLIENT)} {OF_CLIENT}", lines=200),
        columns={
            "Time": "Time",
            "client": "Client",
            "action": "Action",
            "rule_id": "Rule",
            "msg": "Message",
            "server": "Server",
            "uri": "Path",
            "data": "Data",
        },
        first=[{"id": "extractFields", "options": {"source": "labels", "format": "auto", "keepTime": True}}],
        w=24,
        h=8,
    ),
    logs(
        "Every line that names it",
        "Lines of the controllers with $client_ip anywhere: also those where a header only claims it.",
        loki(f"{EVERYTHING} {NAMES_CLIENT}", lines=200),
        w=24,
        h=10,
    ),
)


def made():
    variables = [
        *SOURCES,
        *TARGETS,
        *INGRESSES,
        CLIENT,
        *CONTROLLERS,
        choice("window", "Window", ["5m", "15m", "1h", "6h", "24h"], "1h"),
        choice("top", "Clients shown", ["5", "10", "20", "50"], "10", kind="custom"),
    ]
    return board(
        "weir-http",
        "HTTP requests and clients",
        "Who asks, from where, for what, and with which answer; from the access lines that weir counts.",
        variables,
        GLANCE,
        CLIENTS,
        WHERE,
        WHO,
        ANSWERS,
        ONE_CLIENT,
        links=[ATTRIBUTION],
    )

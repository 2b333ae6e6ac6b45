"""What the boards share: their variables, the filters that these make, links from one to the other."""

from .grafana import LOKI, datasource, link, outside, override, query

# `job` and `instance` of the scrape; an instance is a node (docs/deploy.md).
TARGET = 'job=~"$job", instance=~"$instance"'
# Requests that no ingress took have neither label, which `.*` matches.
INGRESS = TARGET + ', namespace=~"$namespace", ingress=~"$ingress"'

SOURCES = [datasource("datasource", "prometheus", "Prometheus"), datasource("loki", "loki", "Loki")]
TARGETS = [
    query("job", "Scrape job", "label_values(weir_build_info, job)", ".+"),
    query("instance", "Node", 'label_values(weir_build_info{job=~"$job"}, instance)', ".+"),
]
INGRESSES = [
    query("namespace", "Namespace", f"label_values(weir_http_requests_total{{{TARGET}}}, namespace)", ".*"),
    query(
        "ingress",
        "Ingress",
        f'label_values(weir_http_requests_total{{{TARGET}, namespace=~"$namespace"}}, ingress)',
        ".*",
    ),
]
# Only what the controllers wrote is believed: any pod can print a line that looks like theirs.
CONTROLLERS = [
    query(
        "controllers",
        "Controllers' namespace (Loki)",
        'label_values({container="controller"}, namespace)',
        source=LOKI,
        current="ingress-nginx",
    )
]
# One client, always: Loki's ip() takes an address or a network, and nothing that would mean all.
CLIENT = query(
    "client_ip",
    "Client",
    f"label_values(weir_http_client_requests_total{{{TARGET}}}, client_ip)",
    multi=False,
    regex="/^(?!__other__$).+/",
)

# What the licences of the country databases want to be seen where countries are (docs/deploy.md, Countries).
ATTRIBUTION = outside(
    "IP Geolocation by DB-IP",
    "https://db-ip.com",
    "Countries of the bundled database, under CC BY 4.0. With MaxMind's instead: This product includes GeoLite Data "
    "created by MaxMind, available from https://www.maxmind.com.",
)
# Good to bad, in the colours that people know.
CLASS_COLOURS = [
    override(name, color={"mode": "fixed", "fixedColor": colour})
    for name, colour in {"1xx": "gray", "2xx": "green", "3xx": "blue", "4xx": "orange", "5xx": "red"}.items()
]

TO_CLIENT = [link("This client", "weir-http", "var-client_ip=${__value.raw}")]


def total(metric, labels, by="", filters=INGRESS):
    """What a counter gained in the range that is shown; `labels` are more matchers."""
    matchers = ", ".join(part for part in (filters, labels) if part)
    return f"sum{f' by ({by}) ' if by else ''}(increase({metric}{{{matchers}}}[$__range]))"


def rate(metric, labels="", by="", filters=INGRESS):
    """What a counter gains a second."""
    matchers = ", ".join(part for part in (filters, labels) if part)
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{{{matchers}}}[$__rate_interval]))"


def quantile(share, metric, by=""):
    """A quantile of a histogram, in seconds."""
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{{INGRESS}}}[$__rate_interval])))"

"""WAF: what ModSecurity denied and noted, which rules, whom, and where it is wrong."""

from .common import ATTRIBUTION, CONTROLLERS, INGRESS, INGRESSES, SOURCES, TARGET, TARGETS, TO_CLIENT, rate, total
from .grafana import bars, board, countries, logs, loki, override, prom, row, series, stat, table
from .lines import ERRORS, ONE_MESSAGE, VARIABLE, WAF, regexp

EVENTS = "weir_waf_events_total"
BLOCKED = "weir_waf_blocked_requests_total"
BY_CLIENT = "weir_waf_client_events_total"
# The rules that add up scores say that others matched; they are never the cause.
OTHERS = "9(?:49|59|80)..."

GLANCE = row(
    "At a glance",
    stat(
        "Requests refused",
        "Requests that ModSecurity denied in the time that is shown; one counts once, however many rules matched.",
        prom(total(BLOCKED, "") + " or vector(0)", instant=True),
        thresholds=[("green", None), ("orange", 1)],
    ),
    stat(
        "Share refused",
        "Requests that ModSecurity denied, as a share of all.",
        prom(f"({total(BLOCKED, '')} or vector(0)) / {total('weir_http_requests_total', '')}", instant=True),
        unit="percentunit",
        defaults={"decimals": 2},
    ),
    stat(
        "Clients refused",
        "Clients with at least one denied request in the time that is shown.",
        prom(f"count({total(BLOCKED, '', 'client_ip')} > 0) or vector(0)", instant=True),
    ),
    stat(
        "Matches",
        "Rules that matched in the time that is shown, of denied requests and of others.",
        prom(total(EVENTS, "") + " or vector(0)", instant=True),
    ),
    stat(
        "Rules that matched",
        "Different rules that matched in the time that is shown.",
        prom(f"count({total(EVENTS, '', 'rule_id')} > 0) or vector(0)", instant=True),
    ),
    stat(
        "Only noted",
        "Matches without a denial, as a share of all: near 100 % the engine is at DetectionOnly, or its threshold is "
        "high.",
        prom(f"""{total(EVENTS, 'action="detected"')} / {total(EVENTS, "")}""", instant=True),
        unit="percentunit",
    ),
)

OVER_TIME = row(
    "Over time",
    series(
        "Requests refused, by ingress",
        "Requests per second that ModSecurity denied.",
        prom(rate(BLOCKED, by="namespace, ingress"), "{{namespace}}/{{ingress}}"),
        unit="reqps",
        stack=True,
    ),
    series(
        "Blocked and detected",
        "Rules that matched per second: of a denial, and noted only. One request can be many matches.",
        prom(rate(EVENTS, by="action"), "{{action}}"),
        unit="ops",
        stack=True,
        overrides=[
            override("blocked", color={"mode": "fixed", "fixedColor": "red"}),
            override("detected", color={"mode": "fixed", "fixedColor": "yellow"}),
        ],
    ),
    series(
        "Matches by rule set",
        "Rules that matched per second, by the file of the Core Rule Set that they are in.",
        prom(rate(EVENTS, by="rule_set"), "{{rule_set}}"),
        unit="ops",
        stack=True,
    ),
)

MESSAGES = (
    f'topk by (rule_id) (1, sum by (rule_id, msg) (count_over_time({WAF} | rule_id!="" {ONE_MESSAGE} [$__range])))'
)
RULES = row(
    "Rules",
    table(
        "Top rules",
        "The 50 rules that matched most in the time that is shown. Counts are weir's and exact; the message is the "
        "commonest that Loki has for the rule.",
        prom(f"topk(50, {total(EVENTS, '', 'rule_id, rule_set')})", table=True),
        prom(total(EVENTS, 'action="blocked"', "rule_id"), table=True),
        loki(MESSAGES, instant=True),
        columns={
            "rule_id": "Rule",
            "msg": "Message",
            "rule_set": "Rule set",
            "Value #A": "Matches",
            "Value #B": "of them denials",
        },
        join="rule_id",
        first=[
            {
                "id": "filterByValue",
                "options": {
                    "filters": [{"fieldName": "Value #A", "config": {"id": "isNull", "options": {}}}],
                    "match": "any",
                    "type": "exclude",
                },
            }
        ],
        sort="Matches",
        widths={"Rule": 100},
        w=16,
        h=12,
    ),
    bars(
        "Severity",
        "Matches in the time that is shown, by the severity of the rule. 0 means emergency, and also a rule that sets "
        "none, such as the one that denies by the score.",
        prom(total(EVENTS, "", "severity"), "{{severity}}", instant=True),
        overrides=[
            override(str(n), displayName=f"{n} {name}")
            for n, name in enumerate(
                ["emergency or none", "alert", "critical", "error", "warning", "notice", "info", "debug"]
            )
        ],
        w=4,
        h=12,
    ),
    bars(
        "Attack class",
        "Matches in the time that is shown, by what the rule set is about.",
        prom(
            "sort_desc(sum by (class) (label_replace(label_replace(increase("
            + f'{EVENTS}{{{INGRESS}, rule_id!~"{OTHERS}"}}[$__range]), "class", "${1}", "rule_set", "(.*)"), '
            + '"class", "${1}", "rule_set", "RE[A-Z]+-[0-9]+-(?:APPLICATION-)?(?:ATTACK-)?(.+)")))',
            "{{class}}",
            instant=True,
        ),
        w=4,
        h=12,
    ),
)

TOP_CLIENTS = f"topk(50, {total(BLOCKED, '', 'client_ip, country')})"
WHO = row(
    "Whom",
    table(
        "Clients",
        "The 50 clients with most denied requests in the time that is shown; what was only noted is of all ingresses. "
        "A click on one shows its requests.",
        prom(TOP_CLIENTS, table=True),
        prom(
            f"""{total(BY_CLIENT, 'action="detected"', "client_ip", TARGET)} and on (client_ip) {TOP_CLIENTS}""",
            table=True,
        ),
        columns={"client_ip": "Client", "country": "Country", "Value #A": "Refused", "Value #B": "Matches noted"},
        join="client_ip",
        sort="Refused",
        links={"Client": TO_CLIENT},
        w=9,
        h=10,
    ),
    countries(
        "Refused by country",
        "Requests that ModSecurity denied in the time that is shown, by the country of the client's address.",
        total(BLOCKED, 'country!=""', "country"),
        w=9,
        h=10,
    ),
    bars(
        "Ingresses",
        "Requests that ModSecurity denied in the time that is shown, by ingress.",
        prom(f"topk(15, {total(BLOCKED, '', 'namespace, ingress')})", "{{namespace}}/{{ingress}}", instant=True),
        w=6,
        h=10,
    ),
)

# Only paths that are safe to write into a rule: a path is the client's text.
FINDER = (
    f'{WAF} | rule_id!="" | rule_id!~"{OTHERS}" {regexp(VARIABLE)} | variable!="" | variable!~"TX.*"'
    r" | uri=~`/[A-Za-z0-9_./~+-]*`" + f" {ONE_MESSAGE}"
    ' | label_format everywhere=`SecRuleUpdateTargetById {{.rule_id}} "!{{.variable}}"`'
    ', here=`SecRule REQUEST_FILENAME "@streq {{.uri}}" '
    '"id:{{ trunc -5 .rule_id }},phase:1,pass,nolog,ctl:ruleRemoveTargetById={{.rule_id}};{{.variable}}"`'
)
FALSE_POSITIVES = row(
    "Is it wrong?",
    table(
        "False positives: rule and path",
        "What matched most, by rule, path and what the rule looked at, with the line that ends it: for this path, or "
        "everywhere. It belongs into the modsecurity-snippet of the ingress; a second SecRule for the same rule needs "
        "another id. Look at the requests first. Paths and names with other than plain characters are left out.",
        loki(
            "topk(50, sum by (server, uri, rule_id, msg, variable, here, everywhere) (count_over_time("
            + FINDER
            + " [$__range])))",
            instant=True,
        ),
        columns={
            "server": "Server",
            "uri": "Path",
            "rule_id": "Rule",
            "msg": "Message",
            "variable": "In",
            "Value #A": "Matches",
            "here": "To end it on this path",
            "everywhere": "To end it everywhere",
        },
        sort="Matches",
        widths={"Rule": 80, "Matches": 80},
        w=24,
        h=11,
    ),
    table(
        "Rules that many clients meet",
        "Clients by rule, in the time that is shown. An attack comes from few; a rule that many different clients "
        "meet is more often wrong about the application.",
        loki(
            f'topk(30, count by (rule_id, msg) (sum by (rule_id, msg, client) (count_over_time({WAF} | rule_id!="" '
            f'| rule_id!~"{OTHERS}" | client!="" {ONE_MESSAGE} [$__range]))))',
            instant=True,
        ),
        columns={"rule_id": "Rule", "msg": "Message", "Value #A": "Clients"},
        sort="Clients",
        widths={"Rule": 80, "Clients": 80},
        w=12,
        h=10,
    ),
    table(
        "Attacks by what rules say of them",
        "Matches in the time that is shown by the attack-… tag and the server.",
        loki(
            f'topk(30, sum by (attack, server) (count_over_time({WAF} | attack!="" [$__range])))',
            instant=True,
        ),
        columns={"attack": "Attack", "server": "Server", "Value #A": "Matches"},
        sort="Matches",
        w=12,
        h=10,
    ),
)

LAST = row(
    "Last events",
    table(
        "Last events",
        "The last 500 ModSecurity lines: denials and notes, of the Core Rule Set and of rules of one's own, complete "
        "or cut by nginx. What a line does not have stays empty. Lines of one request have the same unique id.",
        loki(f"{WAF} | server=~`$server` {regexp(VARIABLE)}", lines=500),
        columns={
            "Time": "Time",
            "action": "Action",
            "code": "Code",
            "client": "Client",
            "server": "Server",
            "method": "Method",
            "uri": "Path",
            "rule_id": "Rule",
            "msg": "Message",
            "severity": "Severity",
            "variable": "In",
            "data": "Data",
            "rule_set": "Rule set",
            "unique_id": "Unique id",
        },
        first=[{"id": "extractFields", "options": {"source": "labels", "format": "auto", "keepTime": True}}],
        links={"Client": TO_CLIENT},
        w=24,
        h=14,
    ),
    logs(
        "The lines themselves",
        "ModSecurity's lines as nginx wrote them.",
        loki(f"{ERRORS} |= `ModSecurity: `", lines=200),
        w=24,
        h=10,
    ),
)


def made():
    server = {
        "type": "textbox",
        "name": "server",
        "label": "Server (regex, last events)",
        "query": ".*",
        "current": {"text": ".*", "value": ".*"},
        "options": [{"text": ".*", "value": ".*", "selected": True}],
        "hide": 0,
    }
    return board(
        "weir-waf",
        "WAF",
        "What ModSecurity denied and noted, which rules, whom, and where it may be wrong; from nginx' error log.",
        [*SOURCES, *TARGETS, *INGRESSES, *CONTROLLERS, server],
        GLANCE,
        OVER_TIME,
        RULES,
        WHO,
        FALSE_POSITIVES,
        LAST,
        links=[ATTRIBUTION],
        begin="now-24h",
        refresh="5m",
    )

"""LogQL for the lines of ingress-nginx controllers, as the job `pods` of config/kubernetes.yaml sends them.

Labels of their streams are `namespace`, `pod`, `container`, `stream` and `filename`; everything else is read from the
line here, at the time of the query. Expressions are written between backticks, where LogQL takes a backslash as it is;
a backtick within one is therefore \\x60.
"""

_CONTROLLERS = 'namespace=~"$controllers", container="controller"'
ACCESS = "{" + _CONTROLLERS + ', stream="stdout"}'
ERRORS = "{" + _CONTROLLERS + ', stream="stderr"}'
EVERYTHING = "{" + _CONTROLLERS + "}"


def regexp(expression):
    return f"| regexp `{expression}`"


# ---- access lines: JSON with any of the key names that the stage `ingress_nginx` knows, or the controller's own text.
# In JSON a client's quotes are escaped, so what looks like a key is one. In text they are \x22.

_BEFORE_STATUS = r'^[^{"]*"[^"]*" '
_BEFORE_TIME = _BEFORE_STATUS + r'\d{3} \d+ "[^"]*" "[^"]*" \d+ '
CLIENT = regexp(
    r'(?:^|"(?:remote_address|remote_addr|remoteIp|client_ip|remote_ip)": ?")(?P<client>[0-9A-Fa-f:.]+)(?:"| - )'
)
METHOD = regexp(r'(?:"(?:method|request_method|requestMethod)": ?"|^[^{"]*")(?P<method>[A-Za-z_-]+)["\x20]')
PATH = regexp(r'(?:"(?:path|uri|requestUrl)": ?"|^[^{"]*"\S+ )(?P<path>[^" ?]+)')
STATUS = regexp(rf'(?:"status": ?"?|{_BEFORE_STATUS})(?P<status>\d{{3}})\b')
TOOK = regexp(rf'(?:"(?:request_time|duration|latency)": ?"?|{_BEFORE_TIME})(?P<took>\d+\.\d+)')
# The text format does not name the ingress: there it is nginx' name for the upstream.
INGRESS = regexp(rf'(?:"(?:ingress_name|ingressName)": ?"|{_BEFORE_TIME}[\d.]+ \[)(?P<ingress>[^\]"]+)')
HOST = regexp(r'"(?:host|vhost)": ?"(?P<host>[^"\\]+)"')
AGENT = regexp(
    rf'(?:"(?:http_user_agent|user_agent|userAgent)": ?"|{_BEFORE_STATUS}\d{{3}} \d+ "[^"]*" ")(?P<agent>[^"\\]+)'
)
# Numbers and long hexadecimal parts of a path become one: a path for each order would be a series for each order.
ONE_PATH = '| label_format path=`{{ regexReplaceAll "/(?:[0-9]+|[0-9A-Fa-f-]{16,})\\\\b" .path "/*" }}`'

# ---- ModSecurity's lines, by position: the prefix, the first complete run of keys, what follows, nginx' own trailer.
# `data`, `rev`, `ver` and tags have their quotes escaped; `msg`, `uri` and `unique_id` are raw and end where the next
# key begins. A line that nginx cut gives what it still has, and no value in part.

_TEXT = r'(?:[^"\\]|\\.)*'
_HEAD = (
    r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]+\] \d+#\d+: (?:\*\d+ )?(?:\[client (?P<denied_client>[^\]]*)\] )?"
    r"ModSecurity: (?P<action>Access denied|Warning)(?: with code (?P<code>\d+) \(phase (?P<phase>\d)\))?\."
)
# The engine prints at most 100 characters of a value: the keys begin behind the last quote that can end one, so that
# keys within a value are none.
_VALUE = r"(?:\\x[0-9a-f]{2}|.){0,100}(?: \(\d+ characters omitted\))?"
_MATCH = rf"""(?: Matched "Operator .*?' \(Value: \x60{_VALUE}' \)|.*?)"""
_ID = r' +\[file "(?:[^"]*/(?P<rule_set>[^"/]+)\.conf|[^"]*)"\] \[line "\d*"\] \[id "(?P<rule_id>\d+)"\]'
_ABOUT = (
    rf' \[rev "{_TEXT}"\] \[msg "(?P<msg>.*?)"\] \[data "(?P<data>{_TEXT})"\] \[severity "(?P<severity>\d+)"\]'
    rf' \[ver "{_TEXT}"\] \[maturity "\d+"\] \[accuracy "\d+"\]'
)
_TAGS = rf'(?: \[tag "{_TEXT}"\])*?(?: \[tag "attack-(?P<attack>[^"\\]+)"\](?: \[tag "{_TEXT}"\])*)?'
_TAIL = r' \[hostname "[^"]*"\] \[uri "(?P<uri>.*?)"\] \[unique_id "(?P<unique_id>.*?)"\] \[ref "[^"]*"\]'
_TRAILER = (
    r"(?: while [^,]*)?, client: (?P<client>[^, ]+)"
    r'(?:, server: (?P<server>[^,]*)(?:, request: "(?P<method>[A-Za-z_-]+) )?)?'
)
EVENT = _HEAD + f"(?:{_MATCH}{_ID}(?:{_ABOUT}(?:{_TAGS}{_TAIL}(?:{_TRAILER})?)?)?)?"
# What a rule looked at, from the match or, where libinjection found it, from `data`. Only names that are safe to write
# into a rule of one's own: an argument's name is the client's text.
VARIABLE = r"(?:against variable \x60|found within )(?P<variable>[A-Z_]+(?::[A-Za-z0-9_.-]+)?)(?:' \(Value: |: |\"\])"


def waf(*filters):
    """ModSecurity's lines, read; `filters` are line filters, which are cheap and come first."""
    return " ".join(
        [
            ERRORS,
            "|= `ModSecurity: `",
            *filters,
            regexp(EVENT),
            '| action!=""',
            '| label_format action=`{{ if eq .action "Warning" }}detected{{ else }}blocked{{ end }}`'
            ", client=`{{ or .client .denied_client }}`",
        ]
    )


WAF = waf()
# Scores stand in messages: one message for each would be one row for each.
ONE_MESSAGE = '| label_format msg=`{{ regexReplaceAll " \\\\(?(?:Total |Inbound |Outbound )*Scores?:.*" .msg "" }}`'

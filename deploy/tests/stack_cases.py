"""Values of the stack's chart that a user may give: single switches for the pairs, and those that contradict each other."""

from stack import at, merged

STACK = "global/stack"
KPS = "kube-prometheus-stack"
SPEC = f"{KPS}/prometheus/prometheusSpec"
TELEGRAM = {"enabled": True, "chatId": -1001234567890}
EMAIL = {"enabled": True, "to": "me@example.org", "from": "weir@example.org", "smarthost": "mail.example.org:587"}
POSTGRES = {"type": "postgres", "host": "postgres.postgres.svc:5432"}


def both(*trees):
    whole = {}
    for tree in trees:
        whole = merged(whole, tree)
    return whole


# Each switch with its positions; the first is the default. A position says all that it needs to be used alone.
SWITCHES = {
    "kube-prometheus-stack": [
        {},
        both(
            at(f"{KPS}/enabled", False),
            at(f"{STACK}/urls/prometheus", "https://mimir.example/prometheus"),
            at(f"{STACK}/urls/alertmanager", ""),
            at("lokiRules/enabled", False),
            at("weir/podMonitor/enabled", False),
        ),
    ],
    "prometheus": [
        {},
        both(at(f"{KPS}/prometheus/enabled", False), at(f"{STACK}/urls/prometheus", "https://mimir.example/prometheus")),
        both(at(f"{KPS}/prometheus/enabled", False), at(f"{STACK}/urls/prometheus", "")),
        both(
            at(f"{KPS}/prometheus/agentMode", True),
            at(f"{SPEC}/remoteWrite", [{"url": "https://mimir.example/api/v1/push"}]),
            at(f"{STACK}/urls/prometheus", "https://mimir.example/prometheus"),
        ),
    ],
    "remote write": [{}, at(f"{SPEC}/remoteWrite", [{"url": "https://mimir.example/api/v1/push"}])],
    "admin API": [{}, at(f"{SPEC}/enableAdminAPI", True)],
    "alertmanager": [
        {},
        both(at(f"{KPS}/alertmanager/enabled", False), at(f"{STACK}/urls/alertmanager", "https://alerts.example")),
        both(
            at(f"{KPS}/alertmanager/enabled", False),
            at(f"{STACK}/urls/alertmanager", ""),
            at("lokiRules/enabled", False),
        ),
        at(f"{KPS}/alertmanager/alertmanagerSpec/configSecret", "mine"),
    ],
    "grafana": [{}, at(f"{KPS}/grafana/enabled", False), at(f"{KPS}/grafana/persistence/enabled", False)],
    "grafana's replicas": [
        {},
        both(at(f"{KPS}/grafana/replicas", 2), at(f"{STACK}/grafanaDatabase", POSTGRES)),
    ],
    "grafana's database": [{}, at(f"{STACK}/grafanaDatabase", POSTGRES)],
    "loki": [
        {},
        both(at("loki/enabled", False), at(f"{STACK}/urls/loki", "https://logs.example")),
        both(at("loki/enabled", False), at(f"{STACK}/urls/loki", "")),
    ],
    "loki's mode": [
        {},
        {"file": "values-loki-object-storage.yaml"},
        {"files": ["values-loki-object-storage.yaml", "values-loki-distributed.yaml"]},
    ],
    "machine": [{}, {"file": "values-homelab.yaml"}],
    "weir": [{}, at("weir/enabled", False)],
    "weir's monitor": [{}, both(at("weir/podMonitor/enabled", False)), at("weir/discovery", "api")],
    "dashboards": [{}, at("dashboards/enabled", False)],
    "data sources": [{}, at("datasources/enabled", False)],
    "rules": [{}, at("rules/enabled", False)],
    "loki's rules": [{}, at("lokiRules/enabled", False)],
    "telegram": [{}, at("alerting/receivers/telegram", TELEGRAM)],
    "pagerduty": [{}, at("alerting/receivers/pagerduty/enabled", True)],
    "email": [
        {},
        at("alerting/receivers/email", EMAIL),
        at("alerting/receivers/email", {**EMAIL, "username": "me"}),
    ],
    "webhook": [{}, at("alerting/receivers/webhook/enabled", True)],
    "more receivers": [
        {},
        {
            "alerting": {
                "extraReceivers": [{"name": "mine", "webhook_configs": [{"url": "http://mine.example/"}]}],
                "extraRoutes": [{"receiver": "mine", "matchers": ['team="edge"'], "continue": True}],
            }
        },
    ],
    "grafana's ingress": [
        {},
        both(at("ingress/grafana/enabled", True), at(f"{STACK}/hosts/grafana", "grafana.example.org")),
    ],
    "prometheus' ingress": [
        {},
        both(
            at("ingress/prometheus", {"enabled": True, "basicAuthSecret": "prometheus-auth"}),
            at(f"{STACK}/hosts/prometheus", "prometheus.example.org"),
        ),
    ],
    "certificates": [{}, at("ingress/clusterIssuer", "letsencrypt-prod")],
    "backup": [{}, at("backup/enabled", True)],
    "backup of prometheus": [
        {},
        both(at("backup", {"enabled": True, "prometheus": {"enabled": True}}), at(f"{SPEC}/enableAdminAPI", True)),
    ],
    "backup of postgres": [
        {},
        at("backup", {"enabled": True, "postgres": {"enabled": True, "host": "postgres"}, "grafana": {"enabled": False}}),
    ],
    "backup of keys": [{}, at("backup", {"enabled": True, "keys": {"enabled": True, "secrets": ["sealed-secrets-key"]}})],
    "backup's target": [
        {},
        at("backup/target/existingClaim", "archives"),
        at("backup/target/volume", {"nfs": {"server": "nas.example", "path": "/backup"}}),
    ],
    "pushgateway": [
        {},
        at("backup/pushgateway", {"enabled": False}),
        at("backup/pushgateway", {"enabled": False, "url": "http://push.example:9091"}),
    ],
}

# Values that contradict each other, and words of the sentence that says so.
CONTRADICTIONS = [
    (at("loki/enabled", False), "global.stack.urls.loki names this chart's own"),
    (at(f"{STACK}/urls/loki", "https://logs.example"), "set loki.enabled: false to use yours"),
    (at(f"{STACK}/urls/prometheus", ""), "set kube-prometheus-stack.prometheus.enabled: false to use yours"),
    (at(f"{KPS}/prometheus/enabled", False), "global.stack.urls.prometheus names this chart's own"),
    (
        both(
            at(f"{KPS}/prometheus/agentMode", True),
            at(f"{SPEC}/remoteWrite", [{"url": "https://m.example/push"}]),
        ),
        "keeps nothing with kube-prometheus-stack.prometheus.agentMode",
    ),
    (
        both(at(f"{KPS}/prometheus/agentMode", True), at(f"{STACK}/urls/prometheus", "https://m.example")),
        "where it writes to",
    ),
    (
        both(
            at(f"{KPS}/prometheus/enabled", False),
            at(f"{STACK}/urls/prometheus", ""),
            at(f"{SPEC}/remoteWrite", [{"url": "https://m.example/push"}]),
        ),
        "remoteWrite has no effect without Prometheus",
    ),
    (at(f"{KPS}/fullnameOverride", "kps"), "kube-prometheus-stack.fullnameOverride must stay"),
    (at("loki/fullnameOverride", "loki"), "loki.fullnameOverride must stay"),
    (
        both(
            at("loki", {"deploymentMode": "Distributed", "gateway": {"enabled": True}}),
            at(f"{STACK}/urls/loki", "http://weir-stack-loki-gateway"),
        ),
        "needs object storage, which all of its parts reach",
    ),
    (at("loki/singleBinary/replicas", 3), "more than one Loki needs object storage"),
    (
        both(
            at("loki", {"deploymentMode": "Distributed", "loki": {"storage": {"type": "s3"}}}),
            at(f"{STACK}/urls/loki", "http://weir-stack-loki-gateway"),
        ),
        "needs loki.gateway.enabled",
    ),
    (
        both(at(f"{KPS}/alertmanager/enabled", False), at(f"{STACK}/urls/alertmanager", "")),
        "lokiRules has nobody to tell",
    ),
    (at("weir/dashboards/enabled", True), "each alert would come twice"),
    (at("weir/prometheusRule/enabled", True), "each alert would come twice"),
    (at(f"{STACK}/grafanaDatabase/type", "postgres"), "needs global.stack.grafanaDatabase.host"),
    (at(f"{STACK}/grafanaDatabase/host", "postgres"), "not used with type: sqlite3"),
    (at(f"{KPS}/grafana/replicas", 2), "more than one Grafana needs one database"),
    (both(at(f"{KPS}/grafana/enabled", False), at(f"{STACK}/grafanaDatabase", POSTGRES)), "is for this chart's Grafana"),
    (
        both(
            at(f"{KPS}/alertmanager/enabled", False),
            at(f"{STACK}/urls/alertmanager", "https://alerts.example"),
            at("alerting/receivers/telegram", TELEGRAM),
        ),
        "is not enabled: configure them in yours",
    ),
    (
        both(
            at(f"{KPS}/alertmanager/alertmanagerSpec/configSecret", "mine"), at("alerting/receivers/telegram", TELEGRAM)
        ),
        "has another alertmanagerSpec.configSecret",
    ),
    (
        both(
            at(f"{KPS}/alertmanager/alertmanagerSpec/configSecret", "mine"),
            at("alerting/extraReceivers", [{"name": "mine"}]),
        ),
        "alerting.extraReceivers and extraRoutes are for this chart's Alertmanager",
    ),
    (at("alerting/receivers/telegram/enabled", True), "needs chatId"),
    (at("alerting/receivers/email/enabled", True), "needs to, from and smarthost"),
    (at("ingress/grafana/enabled", True), "ingress.grafana needs global.stack.hosts.grafana"),
    (
        both(
            at("ingress/grafana/enabled", True),
            at(f"{STACK}/hosts/grafana", "g.example.org"),
            at(f"{KPS}/grafana/enabled", False),
        ),
        "ingress.grafana leads to this chart's own, which is not enabled",
    ),
    (
        both(at("ingress/prometheus/enabled", True), at(f"{STACK}/hosts/prometheus", "p.example.org")),
        "Prometheus has no accounts",
    ),
    (
        both(
            at("ingress/prometheus", {"enabled": True, "basicAuthSecret": "a"}),
            at(f"{STACK}/hosts/prometheus", "p.example.org"),
            SWITCHES["prometheus"][3],
        ),
        "with agentMode there is nothing to ask it",
    ),
    (at("backup", {"enabled": True, "grafana": {"enabled": False}, "loki": {"enabled": False}}), "but no part of it"),
    (both(at("backup/enabled", True), at(f"{KPS}/grafana/enabled", False)), "backup.grafana saves this chart's Grafana"),
    (both(at("backup/enabled", True), at(f"{STACK}/grafanaDatabase", POSTGRES)), "backup.grafana saves SQLite"),
    (
        both(at("backup/enabled", True), at(f"{KPS}/grafana/persistence/enabled", False)),
        "there is no volume to save",
    ),
    (
        both(at("backup", {"enabled": True, "prometheus": {"enabled": True}}), SWITCHES["prometheus"][1]),
        "backup.prometheus saves this chart's Prometheus",
    ),
    (at("backup", {"enabled": True, "prometheus": {"enabled": True}}), "backup.prometheus asks for a snapshot"),
    (
        both(at("backup/enabled", True), at("loki/enabled", False), at(f"{STACK}/urls/loki", "")),
        "backup.loki saves this chart's Loki",
    ),
    (at("backup", {"enabled": True, "postgres": {"enabled": True}}), "backup.postgres needs backup.postgres.host"),
    (at("backup", {"enabled": True, "keys": {"enabled": True}}), "backup.keys needs backup.keys.secrets"),
    (
        at("backup", {"enabled": True, "target": {"existingClaim": "a", "volume": {"emptyDir": {}}}}),
        "the archives go to one of them",
    ),
    (
        at("backup", {"enabled": True, "pushgateway": {"url": "http://push.example:9091"}}),
        "backup.pushgateway.url is for a pushgateway of yours",
    ),
]

# Values that the schema refuses, and words of the refusal.
MISTAKES = [
    ({"prometheus": {}}, "prometheus"),
    (at("alerting/receivers/slack", {}), "slack"),
    (at("alerting/receivers/telegram/chatId", "-100"), "/chatId"),
    (at("alerting/receivers/email/smarthost", "mail"), "/smarthost"),
    (at(f"{STACK}/urls/loki", "loki:3100"), "/urls/loki"),
    (at(f"{STACK}/urls/loki", "http://loki:3100/"), "/urls/loki"),
    (at(f"{STACK}/hosts/grafana", "https://grafana.example.org"), "/hosts/grafana"),
    (at(f"{STACK}/grafanaDatabase/type", "mysql"), "/grafanaDatabase/type"),
    (at("backup/schedule", "daily"), "/backup/schedule"),
    (at("backup/keep", 0), "/backup/keep"),
    (at("backup/target/size", "10"), "/backup/target/size"),
    (at("ingress/prometheus/basicAuthType", "plain"), "/basicAuthType"),
    (at("ingress/grafana/limits/rps", 0), "/rps"),
]

# Values whose effect is looked for one by one: without any of them the rendering is another.
CASES = {
    "addresses": {
        "global": {
            "imageRegistry": "mirror.example",
            "stack": {"cluster": "home", "hosts": {"grafana": "g.example.org", "prometheus": "p.example.org"}},
        },
        "backup": {"enabled": True},
    },
    "elsewhere": both(
        at(f"{KPS}/enabled", False),
        at("loki/enabled", False),
        at("weir/podMonitor/enabled", False),
        at(
            f"{STACK}/urls",
            {"prometheus": "https://a.example", "alertmanager": "https://b.example", "loki": "https://c.example"},
        ),
    ),
    "database": at(
        f"{STACK}/grafanaDatabase",
        {**POSTGRES, "name": "boards", "user": "me", "sslMode": "verify-full"},
    ),
    "what is brought": {
        "dashboards": {"label": "board", "labelValue": "yes", "folder": "edge"},
        "rules": {"additionalLabels": {"release": "kps"}},
    },
    "nothing is brought": {
        "dashboards": {"enabled": False},
        "datasources": {"enabled": False},
        "rules": {"enabled": False},
        "lokiRules": {"enabled": False},
    },
    "everybody is told": {
        "alerting": {
            "receivers": {
                "telegram": {**TELEGRAM, "threadId": 7},
                "pagerduty": {"enabled": True},
                "email": {**EMAIL, "username": "me"},
                "webhook": {"enabled": True},
            },
            "extraReceivers": [{"name": "mine", "webhook_configs": [{"url": "http://mine.example/"}]}],
            "extraRoutes": [{"receiver": "mine", "matchers": ['team="edge"']}],
        }
    },
    "from outside": {
        "global": {"stack": {"hosts": {"grafana": "g.example.org", "prometheus": "p.example.org"}}},
        "ingress": {
            "className": "internal",
            "clusterIssuer": "letsencrypt-prod",
            "annotations": {"a": "b"},
            "grafana": {
                "enabled": True,
                "tlsSecret": "g-tls",
                "limits": {"rps": 1, "rpm": 3, "burst": 4},
                "annotations": {"c": "d"},
            },
            "prometheus": {
                "enabled": True,
                "tlsSecret": "p-tls",
                "basicAuthSecret": "auth",
                "basicAuthType": "auth-file",
                "limits": {"rps": 1, "rpm": 3, "burst": 4},
                "annotations": {"e": "f"},
            },
        },
    },
    "backup": both(
        at(f"{SPEC}/enableAdminAPI", True),
        {
            "backup": {
                "enabled": True,
                "schedule": "1 2 * * *",
                "timeZone": "Europe/Berlin",
                "keep": 3,
                "image": {"registry": "r.example", "repository": "p", "tag": "17", "pullPolicy": "Always"},
                "imagePullSecrets": [{"name": "pull"}],
                "target": {"storageClassName": "nfs", "size": "5Gi"},
                "grafana": {"claim": "a"},
                "prometheus": {"enabled": True, "claim": "b"},
                "loki": {"claim": "c"},
                "postgres": {
                    "enabled": True,
                    "host": "pg",
                    "port": 5433,
                    "user": "u",
                    "databases": ["a", "b"],
                    "passwordSecret": "s",
                    "passwordKey": "k",
                },
                "keys": {"enabled": True, "secrets": ["s"]},
                "resources": {"limits": {"memory": "1Gi"}},
                "nodeSelector": {"a": "b"},
                "tolerations": [{"operator": "Exists"}],
                "pushgateway": {
                    "image": {"registry": "r.example", "repository": "p", "tag": "1", "pullPolicy": "Always"},
                    "resources": {"limits": {"memory": "1Gi"}},
                },
            }
        },
    ),
    "backup elsewhere": {
        "backup": {
            "enabled": True,
            "grafana": {"enabled": False},
            "image": {"digest": "sha256:" + "0" * 64},
            "target": {"existingClaim": "archives"},
            "pushgateway": {"enabled": False, "url": "http://push.example:9091"},
        }
    },
    "backup on a volume": {
        "backup": {
            "enabled": True,
            "loki": {"enabled": False},
            "target": {"volume": {"nfs": {"server": "nas.example", "path": "/backup"}}},
            "pushgateway": {"image": {"digest": "sha256:" + "0" * 64}},
        }
    },
    "objects of one's own": {
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-map"}, "data": {"k": "v"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\n",
        ]
    },
}

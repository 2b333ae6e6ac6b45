"""Values that a user may give. Together they set every value of the chart once; chart_test.py holds them to it."""

OWN = """\
server: {http_listen_port: 9080}
scrape_configs:
  - job_name: pods
    pod_directory_sd_configs: [{}]
    pipeline_stages:
      - cri: {}
      - regex: {expression: '^(?P<level>\\w+) {{x}}'}
      - labels: {level: }
"""
PROMTAIL = """\
positions: {filename: /run/promtail/positions.yaml}
clients: [{url: http://loki:3100/loki/api/v1/push}]
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
    pipeline_stages: [cri: {}]
"""
VOLUME = {"name": "more", "emptyDir": {}}
MOUNT = {"name": "more", "mountPath": "/more"}
SIDE = {"name": "side", "image": "busybox:1.37"}
BEFORE = {"name": "before", "image": "busybox:1.37"}
KUBE_SYSTEM = {"source_labels": ["__meta_kubernetes_namespace"], "regex": "kube-system", "action": "drop"}

CASES = {
    "default": {},
    "names": {
        "nameOverride": "counter",
        "fullnameOverride": "edge-counter",
        "namespaceOverride": "edge",
        "enabled": True,
        "commonLabels": {"team": "edge"},
        "annotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "podAnnotations": {"e": "f"},
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-map"},
                "data": {"k": "v"},
            },
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\n",
        ],
    },
    "image": {
        "image": {"registry": "r.example", "repository": "a/weir", "tag": "9.9", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccount": {"name": "me", "annotations": {"x": "y"}, "imagePullSecrets": [{"name": "pull"}]},
    },
    "digest": {
        "image": {"digest": "sha256:" + "0" * 64},
        "global": {
            "imageRegistry": "mirror.example",
            "imagePullSecrets": [{"name": "all"}],
            "storageClass": "of-others",
        },
        "serviceAccount": {"create": False},
    },
    "loki": {"loki": {"url": "http://loki.loki.svc:3100/loki/api/v1/push"}},
    "loki with a password": {
        "loki": {
            "url": "https://logs.example/loki/api/v1/push",
            "tenantId": "edge",
            "basicAuth": {"username": "12345", "existingSecret": "loki-password", "key": "pw"},
        }
    },
    "clients": {
        "clients": [{"url": "http://a/push", "name": "a"}, {"url": "http://b/push", "external_labels": {"dc": "x"}}]
    },
    "api": {
        "discovery": "api",
        "rbac": {"extraRules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]},
    },
    "api with everything": {
        "discovery": "api",
        "loki": {"url": "http://l/push"},
        "extraRelabelConfigs": [KUBE_SYSTEM],
        "identity": "node",
        "extraPipelineStages": [{"redact": {}}],
        "rbac": {"create": False},
        "extraScrapeConfigs": [
            {"job_name": "more", "kubernetes_sd_configs": [{"role": "pod"}], "pipeline_stages": [{"cri": {}}]}
        ],
    },
    "more of the shipped configuration": {
        "ingressNamespaces": ["ingress-nginx", "ingress-internal"],
        "extraRelabelConfigs": [KUBE_SYSTEM],
        "extraPipelineStages": [{"redact": {}}, {"limit": {"rate": 100, "burst": 100, "drop": True}}],
        "extraScrapeConfigs": [{"job_name": "syslog", "static_configs": [{"labels": {"__path__": "/var/log/syslog"}}]}],
        "extraConfig": {"limits_config": {"max_line_size": "256kb"}, "delivery": {"spool": "1GiB"}},
    },
    "clients behind proxies": {
        "trustedProxies": ["private", "203.0.113.0/24"],
        "clientSources": ["client_header", "x_forwarded_for"],
        "anonymize": {"ipv4_bits": 24},
    },
    "own configuration as text": {"config": OWN, "rollOnConfigChange": True, "expandEnv": True},
    "own configuration as a map": {
        "config": {
            "scrape_configs": [{"job_name": "a", "static_configs": [{"labels": {"__path__": "/var/log/a.log"}}]}]
        }
    },
    "Promtail's configuration": {"config": PROMTAIL, "discovery": "api", "existingConfigKey": "promtail.yaml"},
    "configuration in a Secret": {"existingSecret": "mine"},
    "configuration in a ConfigMap": {"existingConfigMap": "mine", "existingConfigKey": "promtail.yaml"},
    "log and port": {"logLevel": "debug", "logFormat": "json", "serverPort": 3101, "httpPathPrefix": "/weir"},
    "no countries": {"geoip": {"source": "none"}},
    "countries from a claim": {"geoip": {"source": "existingClaim", "existingClaim": "geoip", "file": "x/City.mmdb"}},
    "countries from the node": {"geoip": {"source": "hostPath", "hostPath": "/etc/maxmind"}},
    "countries from MaxMind": {
        "geoip": {
            "source": "maxmind",
            "maxmind": {
                "existingSecret": "maxmind",
                "accountIdKey": "id",
                "licenseKeyKey": "key",
                "schedule": "0 4 * * 6",
                "editions": ["GeoLite2-Country", "GeoLite2-City"],
                "resources": {"limits": {"memory": "64Mi"}},
                "image": {
                    "registry": "r.example",
                    "repository": "m/g",
                    "digest": "sha256:" + "1" * 64,
                    "pullPolicy": "Always",
                },
                "persistence": {"storageClassName": "longhorn", "accessModes": ["ReadWriteOnce"], "size": "1Gi"},
            },
        }
    },
    "countries from MaxMind in a claim": {
        "geoip": {
            "source": "maxmind",
            "maxmind": {"existingSecret": "maxmind", "image": {"tag": "v8"}, "persistence": {"existingClaim": "geoip"}},
        },
        "imagePullSecrets": [{"name": "p"}],
    },
    "nonRoot": {"securityProfile": "nonRoot", "persistence": {"chownInit": {"enabled": True, "image": "r/busybox:1"}}},
    "nonRoot, folder made": {
        "securityProfile": "nonRoot",
        "persistence": {"hostPath": {"path": "/srv/weir", "type": "Directory"}},
    },
    "readAll": {"securityProfile": "readAll"},
    "SELinux": {
        "podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}},
        "containerSecurityContext": {"procMount": "Default"},
    },
    "docker": {"docker": {"enabled": True, "path": "/data/docker/containers"}},
    "other log folder": {
        "defaultVolumes": [{"name": "pods", "hostPath": {"path": "/data/pods"}}],
        "defaultVolumeMounts": [
            {"name": "pods", "mountPath": "/var/log/pods", "readOnly": True, "mountPropagation": "HostToContainer"}
        ],
    },
    "nothing kept": {"persistence": {"enabled": False}},
    "scheduling": {
        "resources": {"limits": {"memory": "64Mi"}},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]
                }
            }
        },
        "priorityClassName": "system-node-critical",
        "revisionHistoryLimit": 0,
        "minReadySeconds": 5,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}},
        "terminationGracePeriodSeconds": 30,
    },
    "network of the node": {
        "hostNetwork": True,
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["loki"]}],
        "enableServiceLinks": True,
    },
    "name service": {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.10"]}},
    "probes": {
        "livenessProbe": {"httpGet": {"path": "/x", "port": 1}},
        "startupProbe": {"failureThreshold": 30},
        "readinessProbe": {"periodSeconds": 3},
    },
    "no annotations": {"scrapeAnnotations": {"enabled": False}},
    "podMonitor": {
        "podMonitor": {
            "enabled": True,
            "namespace": "monitoring",
            "additionalLabels": {"release": "kps"},
            "annotations": {"a": "b"},
            "jobLabel": "app",
            "interval": "15s",
            "scrapeTimeout": "10s",
            "honorLabels": False,
            "relabelings": [{"targetLabel": "cluster", "replacement": "home"}],
            "podTargetLabels": ["team"],
            "metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
        }
    },
    "serviceMonitor": {
        "identity": "pod",
        "serviceMonitor": {
            "enabled": True,
            "namespace": "monitoring",
            "labels": {"release": "kps"},
            "annotations": {"a": "b"},
            "interval": "15s",
            "scrapeTimeout": "10s",
            "honorLabels": False,
            "targetLabels": ["team"],
            "relabelings": [{"targetLabel": "cluster", "replacement": "home"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
        },
    },
    "service": {"service": {"enabled": True, "labels": {"a": "b"}, "annotations": {"c": "d"}}},
    "rules and boards": {
        "prometheusRule": {
            "enabled": True,
            "namespace": "monitoring",
            "additionalLabels": {"release": "kps"},
            "annotations": {"a": "b"},
        },
        "dashboards": {
            "enabled": True,
            "namespace": "monitoring",
            "label": "board",
            "labelValue": "yes",
            "folder": "edge",
            "annotations": {"a": "b"},
        },
    },
    "Loki as the parent chart says": {
        "global": {"lokiUrl": "http://loki:3100"},
        "loki": {"url": "{{ .Values.global.lokiUrl }}/loki/api/v1/push"},
    },
    "network policy": {"networkPolicy": {"enabled": True}},
    "network policy with everything": {
        "discovery": "api",
        "loki": {"url": "http://loki:3100/loki/api/v1/push"},
        "networkPolicy": {
            "enabled": True,
            "extraEgress": [{"ports": [{"port": 4317}]}],
            "extraIngress": [{"ports": [{"port": 1}]}],
            "metrics": {
                "podSelector": {"matchLabels": {"a": "b"}},
                "namespaceSelector": {"matchLabels": {"c": "d"}},
                "cidrs": ["10.0.0.0/8"],
            },
            "loki": {
                "ports": [443],
                "podSelector": {"matchLabels": {"a": "b"}},
                "namespaceSelector": {"matchLabels": {"c": "d"}},
                "cidrs": ["10.0.0.0/8"],
            },
            "k8sApi": {"ports": [6443], "cidrs": ["10.0.0.1/32", "10.0.0.2/32"]},
        },
    },
    "extras": {
        "extraArgs": ["-server.enable-runtime-reload"],
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"secretRef": {"name": "s"}}],
        "extraVolumes": [VOLUME],
        "extraVolumeMounts": [MOUNT],
        "initContainers": [BEFORE],
        "extraContainers": [SIDE],
    },
}

# Values that contradict each other, and words of the sentence that says so.
CONTRADICTIONS = [
    ({"loki": {"url": "http://a/"}, "clients": [{"url": "http://b/"}]}, "loki.url and clients"),
    ({"loki": {"tenantId": "a"}}, "loki.url, which is empty"),
    ({"loki": {"url": "http://a/", "basicAuth": {"username": "a"}}}, "both username and existingSecret"),
    ({"existingSecret": "a", "existingConfigMap": "b"}, "clear the other"),
    ({"config": OWN, "existingSecret": "a"}, "clear the other"),
    ({"config": OWN, "loki": {"url": "http://a/"}}, "loki.url changes the shipped configuration"),
    *[
        ({"config": OWN, name: [{"a": "b"}]}, f"{name} changes the shipped configuration")
        for name in ("clients", "extraRelabelConfigs", "extraPipelineStages", "extraScrapeConfigs")
    ],
    ({"existingSecret": "a", "extraConfig": {"metrics": {}}}, "extraConfig changes the shipped configuration"),
    ({"config": {"file": "server: {}"}}, "has the shape of the promtail chart's"),
    ({"config": {"limits_config": {}}}, "config has no scrape_configs"),
    ({"config": PROMTAIL}, "set discovery: api"),
    ({"extraScrapeConfigs": [{"job_name": "a", "kubernetes_sd_configs": []}]}, "set discovery: api"),
    ({"discovery": "api", "serviceAccount": {"create": False}}, "default service account"),
    ({"rbac": {"extraRules": [{}]}}, "has no rights at all"),
    ({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "every sum would double"),
    ({"podMonitor": {"enabled": True}, "scrapeAnnotations": {"enabled": True}}, "every sum would double"),
    ({"geoip": {"source": "existingClaim"}}, "needs geoip.existingClaim"),
    ({"geoip": {"source": "hostPath"}}, "needs geoip.hostPath"),
    ({"geoip": {"source": "maxmind"}}, "needs geoip.maxmind.existingSecret"),
    ({"geoip": {"existingClaim": "a"}}, "geoip.existingClaim is not used with geoip.source: bundled"),
    ({"geoip": {"hostPath": "/a"}}, "geoip.hostPath is not used with geoip.source: bundled"),
    ({"geoip": {"maxmind": {"existingSecret": "a"}}}, "geoip.maxmind is not used with geoip.source: bundled"),
    ({"securityProfile": "nonRoot"}, "cannot write to /var/lib/weir"),
    ({"persistence": {"chownInit": {"enabled": True}}}, "chownInit is for securityProfile: nonRoot"),
    ({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}, "the update would never end"),
    ({"extraArgs": ["--config.file=/x"]}, "the chart sets it"),
    *[
        ({name: value}, f"{name} is a value of another chart")
        for name, value in (
            ("daemonset", {"enabled": True}),
            ("deployment", {}),
            ("configmap", {"enabled": True}),
            ("secret", {"labels": {}}),
            ("namespace", "a"),
            ("initContainer", []),
            ("sidecar", {}),
            ("automountServiceAccountToken", True),
            ("extraPorts", {}),
            ("podSecurityPolicy", {}),
            ("role", "Agent"),
            ("customConfig", {}),
            ("existingConfigMaps", []),
            ("defaultNodeSelector", {}),
        )
    ],
]

# Values that the schema refuses, and words of the refusal.
MISTAKES = [
    ({"extraEnvs": []}, "extraEnvs"),
    ({"image": {"version": "1"}}, "version"),
    ({"discovery": "directory"}, "/discovery"),
    ({"securityProfile": "root"}, "/securityProfile"),
    ({"serverPort": "9080"}, "/serverPort"),
    ({"loki": {"url": "loki:3100"}}, "/loki/url"),
    ({"httpPathPrefix": "weir"}, "/httpPathPrefix"),
    ({"image": {"digest": "latest"}}, "/image/digest"),
    ({"extraConfig": {"clients": []}}, "'clients'"),
    ({"ingressNamespaces": []}, "/ingressNamespaces"),
    ({"podMonitor": {"interval": "often"}}, "/podMonitor/interval"),
]

{{/* Values that contradict each other, each with what to write instead. All are collected, so that one run tells all. */}}
{{- define "weir-stack.validate" -}}
{{- $v := .Values }}
{{- $kps := index $v "kube-prometheus-stack" }}
{{- $urls := $v.global.stack.urls }}
{{- $hosts := $v.global.stack.hosts }}
{{- $own := include "weir-stack.ownUrls" . | fromYaml }}
{{- $wrong := list }}

{{- /* Each part is here or elsewhere, and its address says the same. */}}
{{- $here := dict
  "prometheus" (include "weir-stack.prometheus" .)
  "alertmanager" (include "weir-stack.alertmanager" .)
  "loki" (ternary "yes" "" $v.loki.enabled) }}
{{- $switch := dict
  "prometheus" "kube-prometheus-stack.prometheus.enabled"
  "alertmanager" "kube-prometheus-stack.alertmanager.enabled"
  "loki" "loki.enabled" }}
{{- range $part := list "prometheus" "alertmanager" "loki" }}
{{- $url := index $urls $part }}
{{- $agent := and (eq $part "prometheus") (include "weir-stack.agentMode" $) }}
{{- if and (index $here $part) (not $agent) (ne $url (index $own $part)) }}
{{- $wrong = append $wrong (printf "global.stack.urls.%s is %q, but this chart's own is enabled and is at %s: write that, or set %s: false to use yours" $part $url (index $own $part) (index $switch $part)) }}
{{- end }}
{{- if and (or (not (index $here $part)) $agent) (hasPrefix "http://weir-stack-" $url) }}
{{- $wrong = append $wrong (printf "global.stack.urls.%s names this chart's own (%s), which %s: write where yours is, or \"\" for none" $part $url (ternary "keeps nothing with kube-prometheus-stack.prometheus.agentMode" "is not enabled" (not (empty $agent)))) }}
{{- end }}
{{- end }}
{{- if and (include "weir-stack.agentMode" .) (not $kps.prometheus.prometheusSpec.remoteWrite) }}
{{- $wrong = append $wrong "kube-prometheus-stack.prometheus.agentMode keeps nothing: set kube-prometheus-stack.prometheus.prometheusSpec.remoteWrite, where it writes to" }}
{{- end }}
{{- if and $kps.prometheus.prometheusSpec.remoteWrite (not (include "weir-stack.prometheus" .)) }}
{{- $wrong = append $wrong "kube-prometheus-stack.prometheus.prometheusSpec.remoteWrite has no effect without Prometheus: enable it (agentMode keeps nothing here), or remove it" }}
{{- end }}

{{- /* Names that the addresses depend on. */}}
{{- if and $kps.enabled (ne $kps.fullnameOverride "weir-stack") }}
{{- $wrong = append $wrong "kube-prometheus-stack.fullnameOverride must stay weir-stack: addresses and claims have it in them" }}
{{- end }}
{{- if and $v.loki.enabled (ne $v.loki.fullnameOverride "weir-stack-loki") }}
{{- $wrong = append $wrong "loki.fullnameOverride must stay weir-stack-loki: addresses and claims have it in them" }}
{{- end }}

{{- /* Loki. */}}
{{- if and $v.loki.enabled (eq $v.loki.deploymentMode "Distributed") (eq $v.loki.loki.storage.type "filesystem") }}
{{- $wrong = append $wrong "loki.deploymentMode: Distributed needs object storage, which all of its parts reach: take values-loki-object-storage.yaml too" }}
{{- end }}
{{- if and $v.loki.enabled (eq $v.loki.loki.storage.type "filesystem") (gt (int $v.loki.singleBinary.replicas) 1) }}
{{- $wrong = append $wrong "loki.singleBinary.replicas: more than one Loki needs object storage, which all of them reach: take values-loki-object-storage.yaml too" }}
{{- end }}
{{- if and $v.loki.enabled (eq $v.loki.deploymentMode "Distributed") (not $v.loki.gateway.enabled) }}
{{- $wrong = append $wrong "loki.deploymentMode: Distributed needs loki.gateway.enabled, which knows the parts by their paths" }}
{{- end }}
{{- if and $v.lokiRules.enabled $v.loki.enabled (not $urls.alertmanager) }}
{{- $wrong = append $wrong "lokiRules has nobody to tell: set global.stack.urls.alertmanager, or lokiRules.enabled: false" }}
{{- end }}

{{- /* The agent. */}}
{{- if $v.weir.enabled }}
{{- if or (dig "dashboards" "enabled" false $v.weir) (dig "prometheusRule" "enabled" false $v.weir) }}
{{- $wrong = append $wrong "weir.dashboards and weir.prometheusRule: this chart brings both, and each alert would come twice; leave them off" }}
{{- end }}
{{- end }}

{{- /* Grafana. */}}
{{- $db := $v.global.stack.grafanaDatabase }}
{{- if and (eq $db.type "postgres") (not $db.host) }}
{{- $wrong = append $wrong "global.stack.grafanaDatabase.type: postgres needs global.stack.grafanaDatabase.host, such as postgres.postgres.svc:5432" }}
{{- end }}
{{- if and (eq $db.type "sqlite3") $db.host }}
{{- $wrong = append $wrong "global.stack.grafanaDatabase.host is not used with type: sqlite3; set type: postgres" }}
{{- end }}
{{- if and (include "weir-stack.grafana" .) (eq $db.type "sqlite3") (gt (int ($kps.grafana.replicas | default 1)) 1) }}
{{- $wrong = append $wrong "kube-prometheus-stack.grafana.replicas: more than one Grafana needs one database, global.stack.grafanaDatabase.type: postgres" }}
{{- end }}
{{- if and (eq $db.type "postgres") (not (include "weir-stack.grafana" .)) }}
{{- $wrong = append $wrong "global.stack.grafanaDatabase is for this chart's Grafana, which is not enabled; remove it" }}
{{- end }}

{{- /* Alertmanager's receivers. */}}
{{- $r := $v.alerting.receivers }}
{{- $names := list }}
{{- range $name := keys $r | sortAlpha }}{{ if (index $r $name).enabled }}{{ $names = append $names $name }}{{ end }}{{ end }}
{{- if and $names (not (include "weir-stack.ownAlerting" .)) }}
{{- $wrong = append $wrong (printf "alerting.receivers (%s) are for this chart's Alertmanager, which %s" (join ", " $names) (ternary "has another alertmanagerSpec.configSecret: write them there" "is not enabled: configure them in yours" (not (empty (include "weir-stack.alertmanager" .))))) }}
{{- end }}
{{- if and (or $v.alerting.extraReceivers $v.alerting.extraRoutes) (not (include "weir-stack.ownAlerting" .)) }}
{{- $wrong = append $wrong "alerting.extraReceivers and extraRoutes are for this chart's Alertmanager, which is not enabled or has another configSecret" }}
{{- end }}
{{- if and $r.telegram.enabled (not (int64 $r.telegram.chatId)) }}
{{- $wrong = append $wrong "alerting.receivers.telegram needs chatId, the number of the chat: write to the bot there, and read it from https://api.telegram.org/bot…/getUpdates" }}
{{- end }}
{{- if and $r.email.enabled (not (and $r.email.to $r.email.from $r.email.smarthost)) }}
{{- $wrong = append $wrong "alerting.receivers.email needs to, from and smarthost (such as mail.example:587)" }}
{{- end }}

{{- /* Ingress. */}}
{{- range $part := list "grafana" "prometheus" }}
{{- $of := index $v.ingress $part }}
{{- if and $of.enabled (not (index $hosts $part)) }}
{{- $wrong = append $wrong (printf "ingress.%s needs global.stack.hosts.%s, the name by which people reach it" $part $part) }}
{{- end }}
{{- if and $of.enabled (not (include (printf "weir-stack.%s" $part) $)) }}
{{- $wrong = append $wrong (printf "ingress.%s leads to this chart's own, which is not enabled" $part) }}
{{- end }}
{{- end }}
{{- if and $v.ingress.prometheus.enabled (not $v.ingress.prometheus.basicAuthSecret) }}
{{- $wrong = append $wrong "ingress.prometheus needs basicAuthSecret: Prometheus has no accounts, and everybody could read it (htpasswd -c auth me; kubectl create secret generic prometheus-auth --from-file=auth, with basicAuthType: auth-file)" }}
{{- end }}
{{- if and $v.ingress.prometheus.enabled (include "weir-stack.agentMode" .) }}
{{- $wrong = append $wrong "ingress.prometheus: with agentMode there is nothing to ask it" }}
{{- end }}

{{- /* Backup. */}}
{{- $b := $v.backup }}
{{- if $b.enabled }}
{{- $parts := list }}
{{- range $part := list "grafana" "keys" "loki" "postgres" "prometheus" }}{{ if (index $b $part).enabled }}{{ $parts = append $parts $part }}{{ end }}{{ end }}
{{- if not $parts }}
{{- $wrong = append $wrong "backup.enabled, but no part of it: enable backup.grafana, prometheus, loki, postgres or keys" }}
{{- end }}
{{- if and $b.grafana.enabled (not (include "weir-stack.grafana" .)) }}
{{- $wrong = append $wrong "backup.grafana saves this chart's Grafana, which is not enabled: set backup.grafana.enabled: false" }}
{{- end }}
{{- if and $b.grafana.enabled (eq $db.type "postgres") }}
{{- $wrong = append $wrong "backup.grafana saves SQLite, but Grafana is on PostgreSQL: set backup.grafana.enabled: false and backup.postgres.enabled" }}
{{- end }}
{{- if and $b.grafana.enabled (include "weir-stack.grafana" .) (not $kps.grafana.persistence.enabled) }}
{{- $wrong = append $wrong "backup.grafana needs kube-prometheus-stack.grafana.persistence.enabled: there is no volume to save" }}
{{- end }}
{{- if and $b.prometheus.enabled (or (not (include "weir-stack.prometheus" .)) (include "weir-stack.agentMode" .)) }}
{{- $wrong = append $wrong "backup.prometheus saves this chart's Prometheus, which is not enabled or keeps nothing (agentMode): set backup.prometheus.enabled: false" }}
{{- else if and $b.prometheus.enabled (not $kps.prometheus.prometheusSpec.enableAdminAPI) }}
{{- $wrong = append $wrong "backup.prometheus asks for a snapshot: set kube-prometheus-stack.prometheus.prometheusSpec.enableAdminAPI; whoever reaches Prometheus can then delete series" }}
{{- end }}
{{- if and $b.loki.enabled (or (not $v.loki.enabled) (ne $v.loki.loki.storage.type "filesystem")) }}
{{- $wrong = append $wrong "backup.loki saves this chart's Loki on a file system, but there is none: set backup.loki.enabled: false (with object storage, turn on the bucket's versions)" }}
{{- end }}
{{- if and $b.postgres.enabled (not $b.postgres.host) }}
{{- $wrong = append $wrong "backup.postgres needs backup.postgres.host" }}
{{- end }}
{{- if and $b.keys.enabled (not $b.keys.secrets) }}
{{- $wrong = append $wrong "backup.keys needs backup.keys.secrets, the names of Secrets in this namespace" }}
{{- end }}
{{- if and $b.target.existingClaim $b.target.volume }}
{{- $wrong = append $wrong "backup.target.existingClaim and volume: the archives go to one of them; clear the other" }}
{{- end }}
{{- if and $b.pushgateway.enabled $b.pushgateway.url }}
{{- $wrong = append $wrong "backup.pushgateway.url is for a pushgateway of yours: set backup.pushgateway.enabled: false, or clear it" }}
{{- end }}
{{- end }}

{{- if $wrong }}
{{- fail (printf "\n\nThese values cannot be used:\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}

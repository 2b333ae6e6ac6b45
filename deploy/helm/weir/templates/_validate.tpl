{{/*
Values that contradict each other, and values of other charts, each with what to write instead. All are collected, so
that one run tells all of them.
*/}}
{{- define "weir.validate" -}}
{{- $v := .Values }}
{{- $wrong := list }}
{{- $lokiUrl := include "weir.lokiUrl" . }}

{{- $own := include "weir.ownConfig" . }}
{{- if and $v.existingSecret $v.existingConfigMap }}
{{- $wrong = append $wrong "existingSecret and existingConfigMap: the configuration is in one of them; clear the other" }}
{{- end }}
{{- if and $v.config (or $v.existingSecret $v.existingConfigMap) }}
{{- $wrong = append $wrong "config, and existingSecret or existingConfigMap: one of them holds the configuration; clear the other" }}
{{- end }}
{{- if $own }}
{{- range $name := list "clients" "extraRelabelConfigs" "extraPipelineStages" "extraScrapeConfigs" "extraConfig" }}
{{- if index $v $name }}
{{- $wrong = append $wrong (printf "%s changes the shipped configuration, but you give a whole one (config, existingSecret or existingConfigMap): write it there" $name) }}
{{- end }}
{{- end }}
{{- if $lokiUrl }}
{{- $wrong = append $wrong "loki.url changes the shipped configuration, but you give a whole one: write it there, under `clients:`" }}
{{- end }}
{{- end }}

{{- if kindIs "map" $v.config }}
{{- if and $v.config (not (hasKey $v.config "scrape_configs")) }}
{{- if or (hasKey $v.config "file") (hasKey $v.config "snippets") (hasKey $v.config "clients") (hasKey $v.config "logLevel") }}
{{- $wrong = append $wrong "config has the shape of the promtail chart's: here it is the configuration itself, with scrape_configs; values-from-promtail.md has the table (config.clients is clients, config.file is config)" }}
{{- else }}
{{- $wrong = append $wrong "config has no scrape_configs: it is a whole configuration; to add a block to the shipped one use extraConfig" }}
{{- end }}
{{- end }}
{{- end }}

{{- if and $lokiUrl $v.clients }}
{{- $wrong = append $wrong "loki.url and clients: give loki.url for one Loki, or clients for the whole list" }}
{{- end }}
{{- if and (not $lokiUrl) (or $v.loki.tenantId $v.loki.basicAuth.username $v.loki.basicAuth.existingSecret) }}
{{- $wrong = append $wrong "loki.tenantId and loki.basicAuth are for loki.url, which is empty; with clients write them there" }}
{{- end }}
{{- if ne (empty $v.loki.basicAuth.username) (empty $v.loki.basicAuth.existingSecret) }}
{{- $wrong = append $wrong "loki.basicAuth needs both username and existingSecret, the Secret with the password" }}
{{- end }}

{{- $text := "" }}
{{- if $v.config }}{{ $text = ternary $v.config (toYaml $v.config) (kindIs "string" $v.config) }}{{ end }}
{{- $text = printf "%s\n%s" $text (toYaml $v.extraScrapeConfigs) }}
{{- if and (eq $v.discovery "path") (regexMatch "(?m)^[ -]*kubernetes_sd_configs:" $text) }}
{{- $wrong = append $wrong "the configuration has kubernetes_sd_configs, which asks the Kubernetes API: set discovery: api, for the rights and the token" }}
{{- end }}
{{- if and (eq $v.discovery "api") (not $v.serviceAccount.create) (not $v.serviceAccount.name) $v.rbac.create }}
{{- $wrong = append $wrong "discovery: api would give its rights to the namespace's default service account: set serviceAccount.create, or name one in serviceAccount.name" }}
{{- end }}
{{- if and (eq $v.discovery "path") $v.rbac.extraRules }}
{{- $wrong = append $wrong "rbac.extraRules have no effect with discovery: path, which has no rights at all: set discovery: api, or remove them" }}
{{- end }}

{{- if and $v.podMonitor.enabled $v.serviceMonitor.enabled }}
{{- $wrong = append $wrong "podMonitor and serviceMonitor: Prometheus would read each agent twice, and every sum would double; enable one" }}
{{- end }}
{{- if and (include "weir.monitored" .) $v.scrapeAnnotations.enabled }}
{{- $wrong = append $wrong "scrapeAnnotations.enabled with a monitor: a Prometheus that follows both reads each agent twice, and every sum would double; leave it null" }}
{{- end }}

{{- $g := $v.geoip }}
{{- if and (eq $g.source "existingClaim") (not $g.existingClaim) }}
{{- $wrong = append $wrong "geoip.source: existingClaim needs geoip.existingClaim, the name of the volume claim" }}
{{- end }}
{{- if and (eq $g.source "hostPath") (not $g.hostPath) }}
{{- $wrong = append $wrong "geoip.source: hostPath needs geoip.hostPath, the folder on each node" }}
{{- end }}
{{- if and (eq $g.source "maxmind") (not $g.maxmind.existingSecret) }}
{{- $wrong = append $wrong "geoip.source: maxmind needs geoip.maxmind.existingSecret, a Secret with the account id and the licence key" }}
{{- end }}
{{- if and $g.existingClaim (ne $g.source "existingClaim") }}
{{- $wrong = append $wrong (printf "geoip.existingClaim is not used with geoip.source: %s; set geoip.source: existingClaim" $g.source) }}
{{- end }}
{{- if and $g.hostPath (ne $g.source "hostPath") }}
{{- $wrong = append $wrong (printf "geoip.hostPath is not used with geoip.source: %s; set geoip.source: hostPath" $g.source) }}
{{- end }}
{{- if and $g.maxmind.existingSecret (ne $g.source "maxmind") }}
{{- $wrong = append $wrong (printf "geoip.maxmind is not used with geoip.source: %s; set geoip.source: maxmind" $g.source) }}
{{- end }}

{{- $p := $v.persistence }}
{{- if and (eq $v.securityProfile "nonRoot") $p.enabled (eq $p.hostPath.type "DirectoryOrCreate") (not $p.chownInit.enabled) }}
{{- $wrong = append $wrong (printf "securityProfile: nonRoot cannot write to %s, which the kubelet makes for root: set persistence.chownInit.enabled, or make it on each node for uid 65532 and set persistence.hostPath.type: Directory" $p.hostPath.path) }}
{{- end }}
{{- if and $p.chownInit.enabled (or (ne $v.securityProfile "nonRoot") (not $p.enabled)) }}
{{- $wrong = append $wrong "persistence.chownInit is for securityProfile: nonRoot with persistence; turn it off" }}
{{- end }}

{{- $surge := dig "rollingUpdate" "maxSurge" 0 $v.updateStrategy }}
{{- if and $p.enabled (not (has (toString $surge) (list "0" "0%"))) }}
{{- $wrong = append $wrong "updateStrategy.rollingUpdate.maxSurge: the new agent of a node waits until the old one lets go of its state, and is not ready before, so the update would never end; remove it, and use maxUnavailable" }}
{{- end }}

{{- range $v.extraArgs }}
{{- if regexMatch "^--?config\\.(file|expand-env)" . }}
{{- $wrong = append $wrong (printf "extraArgs has %s: the chart sets it; use config, existingSecret or existingConfigMap, and expandEnv" .) }}
{{- end }}
{{- end }}

{{- /* Names of other charts: the schema lets them through, so that they get a sentence and not only a refusal. */}}
{{- $others := dict
  "daemonset" "weir is always a DaemonSet; remove it"
  "deployment" "weir is always a DaemonSet; remove it"
  "role" "weir is always a DaemonSet; remove it"
  "configmap" "the configuration is kept in a Secret; to give your own ConfigMap use existingConfigMap"
  "secret" "labels of all objects are commonLabels; to give your own Secret use existingSecret"
  "namespace" "use namespaceOverride, or helm's --namespace"
  "initContainer" "use initContainers; none is needed for inotify, weir has one instance per process"
  "sidecar" "nothing has to watch the configuration: the agent does; rollOnConfigChange restarts the pods instead"
  "automountServiceAccountToken" "a token is mounted with discovery: api and never else; remove it"
  "extraPorts" "weir listens on serverPort only; remove it"
  "podSecurityPolicy" "Kubernetes has no such policies any more; remove it"
  "customConfig" "use config"
  "existingConfigMaps" "use existingConfigMap, with one name"
  "defaultNodeSelector" "use nodeSelector"
}}
{{- range $name := keys $others | sortAlpha }}
{{- if hasKey $v $name }}
{{- $wrong = append $wrong (printf "%s is a value of another chart: %s" $name (index $others $name)) }}
{{- end }}
{{- end }}

{{- if $wrong }}
{{- fail (printf "\n\nThese values cannot be used:\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}

{{/*
The configuration. The shipped one is a text with ${VARIABLES}, which no YAML parser reads before they are expanded, so
the values change it as text: each place that is replaced must be there, or the rendering ends.
*/}}
{{- define "weir.replaced" -}}
{{- if not (contains .old .text) }}
{{- fail (printf "files/kubernetes.yaml has no longer the lines that the value %s replaces:\n%s" .value .old) }}
{{- end }}
{{- replace .old .new .text }}
{{- end }}

{{- define "weir.clients" -}}
{{- if .Values.clients }}
{{- toYaml (dict "clients" .Values.clients) }}
{{- else }}
{{- $client := dict "url" (include "weir.lokiUrl" .) }}
{{- with .Values.loki.tenantId }}{{ $_ := set $client "tenant_id" . }}{{ end }}
{{- with .Values.loki.basicAuth.username }}
{{- $_ := set $client "basic_auth" (dict "username" . "password_file" "/etc/weir-loki/password") }}
{{- end }}
{{- toYaml (dict "clients" (list $client)) }}
{{- end }}
{{- end }}

{{/* $1 stays, ${1} would be a variable. Logs of static pods lie under the hash of their manifest, not under a uid. */}}
{{- define "weir.apiPath" }}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: /var/log/pods/*$1/*.log
      - source_labels:
          - __meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash
          - __meta_kubernetes_pod_annotation_kubernetes_io_config_hash
          - __meta_kubernetes_pod_container_name
        separator: /
        regex: true/(.*)
        target_label: __path__
        replacement: /var/log/pods/*$1/*.log
{{ end }}

{{- define "weir.shippedConfig" -}}
{{- $text := .Files.Get "files/kubernetes.yaml" | trimSuffix "\n" }}
{{- if or .Values.clients (include "weir.lokiUrl" .) }}
{{- $old := "clients:\n  - url: ${LOKI_URL:-}\n" }}
{{- $new := printf "%s\n" (include "weir.clients" .) }}
{{- $text = include "weir.replaced" (dict "text" $text "value" "loki" "old" $old "new" $new) }}
{{- end }}
{{- if eq (include "weir.identity" .) "pod" }}
{{- $old := "${NODE_NAME:-}" }}
{{- $text = include "weir.replaced" (dict "text" $text "value" "identity" "old" $old "new" "${POD_NAME:-}") }}
{{- end }}
{{- with .Values.extraRelabelConfigs }}
{{- $old := "      - {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}\n" }}
{{- $new := printf "%s%s\n" $old (toYaml . | indent 6) }}
{{- $text = include "weir.replaced" (dict "text" $text "value" "extraRelabelConfigs" "old" $old "new" $new) }}
{{- end }}
{{- if eq .Values.discovery "api" }}
{{- $relabel := include "weir.apiPath" . | trimPrefix "\n" }}
{{- $root := "    pod_directory_sd_configs:\n      - root: ${WEIR_LOG_ROOT:-/var/log/pods}\n" }}
{{- $namespaces := "        namespaces:\n          names: [${WEIR_INGRESS_NAMESPACES:-ingress-nginx}]\n" }}
{{- $api := "    kubernetes_sd_configs:\n      - role: pod\n" }}
{{- $old := printf "%s%s    relabel_configs:\n" $root $namespaces }}
{{- $new := printf "%s%s%s" $api $namespaces $relabel }}
{{- $text = include "weir.replaced" (dict "text" $text "value" "discovery" "old" $old "new" $new) }}
{{- $old = printf "%s    relabel_configs:\n" $root }}
{{- $new = printf "%s%s" $api $relabel }}
{{- $text = include "weir.replaced" (dict "text" $text "value" "discovery" "old" $old "new" $new) }}
{{- end }}
{{- if or .Values.extraPipelineStages .Values.extraScrapeConfigs }}
{{- if not (hasSuffix "    pipeline_stages:\n      - container: {}" $text) }}
{{- fail "files/kubernetes.yaml no longer ends with the stages of the job that reads all pods: extraPipelineStages and extraScrapeConfigs have no place" }}
{{- end }}
{{- end }}
{{- with .Values.extraPipelineStages }}
{{- $text = printf "%s\n%s" $text (toYaml . | indent 6) }}
{{- end }}
{{- with .Values.extraScrapeConfigs }}
{{- $text = printf "%s\n\n%s" $text (toYaml . | indent 2) }}
{{- end }}
{{- with .Values.extraConfig }}
{{- $text = printf "%s\n\n%s" $text (toYaml .) }}
{{- end }}
{{- $text }}
{{- end }}

{{/* One of the user's own, as text; with a state directory, since the one beside Promtail's positions may be gone. */}}
{{- define "weir.ownConfigText" -}}
{{- $text := .Values.config }}
{{- if not (kindIs "string" $text) }}{{ $text = toYaml $text }}{{ end }}
{{- $text = trimSuffix "\n" $text }}
{{- if not (regexMatch "(?m)^state:" $text) }}
{{- $text = printf "%s\n\n# Added by the chart: the folder on the node.\nstate:\n  directory: /var/lib/weir" $text }}
{{- end }}
{{- $text }}
{{- end }}

{{- define "weir.config" -}}
{{- if .Values.config }}{{ include "weir.ownConfigText" . }}{{ else }}{{ include "weir.shippedConfig" . }}{{ end }}
{{- end }}

{{/* Names do not depend on the release: values of the charts within have to name them. */}}
{{- define "weir-stack.labels" -}}
app.kubernetes.io/part-of: weir-stack
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The values of the charts within. Not empty is yes. */}}
{{- define "weir-stack.prometheus" -}}
{{- $kps := index .Values "kube-prometheus-stack" }}
{{- if and $kps.enabled $kps.prometheus.enabled }}yes{{ end }}
{{- end }}
{{- define "weir-stack.alertmanager" -}}
{{- $kps := index .Values "kube-prometheus-stack" }}
{{- if and $kps.enabled $kps.alertmanager.enabled }}yes{{ end }}
{{- end }}
{{- define "weir-stack.grafana" -}}
{{- $kps := index .Values "kube-prometheus-stack" }}
{{- if and $kps.enabled $kps.grafana.enabled }}yes{{ end }}
{{- end }}
{{- define "weir-stack.agentMode" -}}
{{- $kps := index .Values "kube-prometheus-stack" }}
{{- if and (include "weir-stack.prometheus" .) $kps.prometheus.agentMode }}yes{{ end }}
{{- end }}
{{/* Its own Alertmanager, with the configuration that this chart makes. */}}
{{- define "weir-stack.ownAlerting" -}}
{{- $spec := (index .Values "kube-prometheus-stack").alertmanager.alertmanagerSpec }}
{{- if and (include "weir-stack.alertmanager" .) (eq $spec.configSecret "weir-stack-alertmanager-config") }}yes{{ end }}
{{- end }}

{{/* The addresses of this chart's own parts, as values.yaml has them. */}}
{{- define "weir-stack.ownUrls" -}}
prometheus: http://weir-stack-prometheus:9090
alertmanager: http://weir-stack-alertmanager:9093
loki: {{ ternary "http://weir-stack-loki-gateway" "http://weir-stack-loki:3100" (eq .Values.loki.deploymentMode "Distributed") }}
{{- end }}

{{/* An image block as one reference: a digest wins over a tag. Takes (dict "root" $ "image" …). */}}
{{- define "weir-stack.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry }}
{{- $name := ternary .image.repository (printf "%s/%s" $registry .image.repository) (empty $registry) }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name .image.tag }}
{{- end }}
{{- end }}

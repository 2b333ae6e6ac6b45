{{/* Names and labels. */}}
{{- define "weir.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "weir.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "weir.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "weir.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* With room for what is appended, such as -geoipupdate: names of cron jobs have 52 characters at most. */}}
{{- define "weir.geoipName" -}}
{{- printf "%s-geoipupdate" (include "weir.fullname" . | trunc 40 | trimSuffix "-") }}
{{- end }}

{{- define "weir.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "weir.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
{{ include "weir.commonLabels" . }}
{{- end }}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "weir.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* An image block as one reference: a digest wins over a tag. Takes (dict "root" $ "image" … "tag" …). */}}
{{- define "weir.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry }}
{{- $name := ternary .image.repository (printf "%s/%s" $registry .image.repository) (empty $registry) }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.image.tag | default .tag) }}
{{- end }}
{{- end }}

{{/* What the rest asks: not empty is yes. */}}
{{- define "weir.monitored" -}}
{{- if or .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}yes{{ end }}
{{- end }}

{{- define "weir.annotated" -}}
{{- if kindIs "bool" .Values.scrapeAnnotations.enabled }}
{{- if .Values.scrapeAnnotations.enabled }}yes{{ end }}
{{- else if not (include "weir.monitored" .) }}yes{{ end }}
{{- end }}

{{- define "weir.ownConfig" -}}
{{- if or .Values.config .Values.existingSecret .Values.existingConfigMap }}yes{{ end }}
{{- end }}

{{- define "weir.expandEnv" -}}
{{- if kindIs "bool" .Values.expandEnv }}
{{- if .Values.expandEnv }}yes{{ end }}
{{- else if not (include "weir.ownConfig" .) }}yes{{ end }}
{{- end }}

{{/* A template, so that a parent chart can say once where Loki is. */}}
{{- define "weir.lokiUrl" -}}
{{- tpl .Values.loki.url . | trim }}
{{- end }}

{{- define "weir.forwards" -}}
{{- if or (include "weir.lokiUrl" .) .Values.clients (include "weir.ownConfig" .) }}yes{{ end }}
{{- end }}

{{/* node or pod: whose name the target's identity is. */}}
{{- define "weir.identity" -}}
{{- if ne .Values.identity "auto" }}{{ .Values.identity }}
{{- else if include "weir.monitored" . }}node
{{- else }}pod
{{- end }}
{{- end }}

{{- define "weir.geoipFile" -}}
{{- if eq .Values.geoip.source "bundled" }}/usr/share/weir/geoip/dbip-country.mmdb
{{- else if ne .Values.geoip.source "none" }}/etc/maxmind/{{ .Values.geoip.file }}
{{- end }}
{{- end }}

{{/* The three profiles. Each leaves the root file system read-only and lets no process gain anything. */}}
{{- define "weir.podSecurityContext" -}}
{{- $strict := dict "runAsUser" 0 "runAsGroup" 0 }}
{{- $nonRoot := dict "runAsUser" 65532 "runAsGroup" 0 "runAsNonRoot" true }}
{{- $base := dict "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- $profile := ternary $nonRoot $strict (eq .Values.securityProfile "nonRoot") }}
{{- toYaml (mergeOverwrite $base $profile (deepCopy .Values.podSecurityContext)) }}
{{- end }}

{{- define "weir.containerSecurityContext" -}}
{{- $capabilities := dict "drop" (list "ALL") }}
{{- if eq .Values.securityProfile "readAll" }}
{{- $_ := set $capabilities "add" (list "DAC_READ_SEARCH") }}
{{- end }}
{{- $base := dict "allowPrivilegeEscalation" false "privileged" false "readOnlyRootFilesystem" true "capabilities" $capabilities }}
{{- toYaml (mergeOverwrite $base (deepCopy .Values.containerSecurityContext)) }}
{{- end }}

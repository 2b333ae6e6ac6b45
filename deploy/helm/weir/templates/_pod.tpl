{{- define "weir.podSpec" -}}
serviceAccountName: {{ include "weir.serviceAccountName" . }}
automountServiceAccountToken: {{ eq .Values.discovery "api" }}
enableServiceLinks: {{ .Values.enableServiceLinks }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "weir.podSecurityContext" . | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.global.imagePullSecrets | default .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.persistence.chownInit.enabled .Values.initContainers }}
initContainers:
  {{- if .Values.persistence.chownInit.enabled }}
  - name: chown
    image: {{ .Values.persistence.chownInit.image }}
    command: [chown, "65532:0", /var/lib/weir]
    securityContext:
      runAsUser: 0
      runAsNonRoot: false
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
        add: [CHOWN]
    resources:
      requests: {cpu: 10m, memory: 8Mi}
      limits: {memory: 16Mi}
    volumeMounts:
      - name: state
        mountPath: /var/lib/weir
  {{- end }}
  {{- with .Values.initContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
containers:
  - name: weir
    image: {{ include "weir.image" (dict "root" $ "image" .Values.image "tag" .Chart.AppVersion) }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - -config.file=/etc/weir/{{ .Values.existingConfigKey }}
      {{- if include "weir.expandEnv" . }}
      - -config.expand-env
      {{- end }}
      - -log.level={{ .Values.logLevel }}
      - -log.format={{ .Values.logFormat }}
      - -server.http-listen-port={{ .Values.serverPort }}
      {{- with .Values.httpPathPrefix }}
      - -server.http-path-prefix={{ . }}
      {{- end }}
      {{- with .Values.extraArgs }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    env:
      # As Promtail's chart: HOSTNAME is the node's name, which __host__ is compared with.
      - name: HOSTNAME
        valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
      - name: NODE_NAME
        valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
      - name: POD_NAME
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
      - name: WEIR_INGRESS_NAMESPACES
        value: {{ join ", " .Values.ingressNamespaces | quote }}
      {{- with .Values.trustedProxies }}
      - name: WEIR_TRUSTED_PROXIES
        value: {{ join ", " . | quote }}
      - name: WEIR_CLIENT_SOURCES
        value: {{ join ", " $.Values.clientSources | quote }}
      {{- end }}
      {{- with .Values.anonymize }}
      - name: WEIR_ANONYMIZE
        value: {{ toJson . | quote }}
      {{- end }}
      {{- with include "weir.geoipFile" . }}
      - name: WEIR_GEOIP_DB
        value: {{ . }}
      {{- end }}
      {{- with .Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .Values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - name: http-metrics
        containerPort: {{ .Values.serverPort }}
        protocol: TCP
    securityContext:
      {{- include "weir.containerSecurityContext" . | nindent 6 }}
    {{- with .Values.startupProbe }}
    startupProbe:
      {{- include "weir.probe" (dict "root" $ "probe" . "path" "/healthz") | nindent 6 }}
    {{- end }}
    {{- with .Values.livenessProbe }}
    livenessProbe:
      {{- include "weir.probe" (dict "root" $ "probe" . "path" "/healthz") | nindent 6 }}
    {{- end }}
    {{- with .Values.readinessProbe }}
    readinessProbe:
      {{- include "weir.probe" (dict "root" $ "probe" . "path" "/ready") | nindent 6 }}
    {{- end }}
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: config
        mountPath: /etc/weir
        readOnly: true
      - name: state
        mountPath: /var/lib/weir
      {{- with .Values.defaultVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- if .Values.docker.enabled }}
      - name: docker
        mountPath: {{ .Values.docker.path }}
        readOnly: true
      {{- end }}
      {{- if has .Values.geoip.source (list "maxmind" "existingClaim" "hostPath") }}
      - name: geoip
        mountPath: /etc/maxmind
        readOnly: true
      {{- end }}
      {{- if .Values.loki.basicAuth.existingSecret }}
      - name: loki
        mountPath: /etc/weir-loki
        readOnly: true
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    {{- if .Values.existingConfigMap }}
    configMap:
      name: {{ .Values.existingConfigMap }}
      defaultMode: 0440
    {{- else }}
    secret:
      secretName: {{ .Values.existingSecret | default (include "weir.fullname" .) }}
      defaultMode: 0440
    {{- end }}
  - name: state
    {{- if .Values.persistence.enabled }}
    hostPath:
      {{- toYaml .Values.persistence.hostPath | nindent 6 }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- with .Values.defaultVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if .Values.docker.enabled }}
  - name: docker
    hostPath:
      path: {{ .Values.docker.path }}
      type: Directory
  {{- end }}
  {{- include "weir.geoipVolume" . }}
  {{- with .Values.loki.basicAuth.existingSecret }}
  - name: loki
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items:
        - key: {{ $.Values.loki.basicAuth.key }}
          path: password
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The user's probe, with the page filled in unless it asks for something else. */}}
{{- define "weir.probe" -}}
{{- $page := dict "httpGet" (dict "path" (printf "%s%s" .root.Values.httpPathPrefix .path) "port" "http-metrics") }}
{{- if or .probe.httpGet .probe.exec .probe.tcpSocket .probe.grpc }}{{ $page = dict }}{{ end }}
{{- toYaml (mergeOverwrite $page (deepCopy .probe)) }}
{{- end }}

{{- define "weir.geoipVolume" -}}
{{- $g := .Values.geoip }}
{{- if eq $g.source "hostPath" }}
  - name: geoip
    hostPath:
      path: {{ $g.hostPath }}
      type: Directory
{{- else if eq $g.source "existingClaim" }}
  - name: geoip
    persistentVolumeClaim:
      claimName: {{ $g.existingClaim }}
      readOnly: true
{{- else if eq $g.source "maxmind" }}
  - name: geoip
    persistentVolumeClaim:
      claimName: {{ $g.maxmind.persistence.existingClaim | default (include "weir.geoipName" .) }}
      readOnly: true
{{- end }}
{{- end }}

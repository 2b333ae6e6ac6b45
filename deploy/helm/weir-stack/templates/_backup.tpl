{{/*
A cron job that saves a part, or one that restores it and never runs by itself: kubectl create job --from=cronjob/….
Takes (dict "root" $ "part" … "how" … "verb" "backup" or "restore").
*/}}
{{- define "weir-stack.backupJob" -}}
{{- $b := .root.Values.backup }}
{{- $of := index $b .part }}
{{- $urls := .root.Values.global.stack.urls }}
{{- $saves := eq .verb "backup" }}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: weir-stack-{{ .verb }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "weir-stack.labels" .root | nindent 4 }}
    app.kubernetes.io/name: weir-stack-{{ .verb }}
    app.kubernetes.io/component: {{ .part }}
spec:
  schedule: {{ $b.schedule | quote }}
  {{- with $b.timeZone }}
  timeZone: {{ . }}
  {{- end }}
  suspend: {{ not $saves }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 2
  jobTemplate:
    metadata:
      labels:
        {{- include "weir-stack.labels" .root | nindent 8 }}
    spec:
      backoffLimit: {{ ternary 1 0 $saves }}
      activeDeadlineSeconds: 14400
      template:
        metadata:
          labels:
            {{- include "weir-stack.labels" .root | nindent 12 }}
            app.kubernetes.io/name: weir-stack-{{ .verb }}
            app.kubernetes.io/component: {{ .part }}
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          enableServiceLinks: false
          {{- with $b.imagePullSecrets }}
          imagePullSecrets:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            runAsNonRoot: true
            runAsUser: {{ .how.user }}
            runAsGroup: {{ .how.group }}
            fsGroup: {{ .how.group }}
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile: {type: RuntimeDefault}
          {{- if and $saves .how.label }}
          # Its volume can be on one node only: where it runs.
          affinity:
            podAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                - topologyKey: kubernetes.io/hostname
                  labelSelector:
                    matchLabels:
                      {{- toYaml .how.label | nindent 22 }}
          {{- end }}
          {{- with $b.nodeSelector }}
          nodeSelector:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $b.tolerations }}
          tolerations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          containers:
            - name: {{ .verb }}
              image: {{ include "weir-stack.image" (dict "root" .root "image" $b.image) }}
              imagePullPolicy: {{ $b.image.pullPolicy }}
              command: [sh, /opt/backup/{{ .verb }}.sh, {{ .part }}]
              env:
                - {name: BACKUP_DIR, value: /backup}
                {{- if $saves }}
                - {name: BACKUP_KEEP, value: {{ $b.keep | quote }}}
                {{- if $b.pushgateway.enabled }}
                - {name: PUSHGATEWAY_URL, value: "http://weir-stack-pushgateway:9091"}
                {{- else if $b.pushgateway.url }}
                - {name: PUSHGATEWAY_URL, value: {{ $b.pushgateway.url | quote }}}
                {{- end }}
                {{- else }}
                # What is there is moved aside, and yours to remove.
                - {name: RESTORE_ASIDE, value: "yes"}
                {{- end }}
                {{- if eq .part "grafana" }}
                - {name: GRAFANA_DATA, value: /var/lib/grafana}
                {{- else if eq .part "prometheus" }}
                - {name: PROMETHEUS_DATA, value: /prometheus}
                {{- if $saves }}
                - {name: PROMETHEUS_URL, value: {{ $urls.prometheus | quote }}}
                {{- end }}
                {{- else if eq .part "loki" }}
                - {name: LOKI_DATA, value: /var/loki}
                {{- if $saves }}
                - {name: LOKI_URL, value: {{ $urls.loki | quote }}}
                {{- end }}
                {{- else if eq .part "postgres" }}
                - {name: PGHOST, value: {{ $of.host | quote }}}
                - {name: PGPORT, value: {{ $of.port | quote }}}
                - {name: PGUSER, value: {{ $of.user | quote }}}
                - {name: PG_DATABASES, value: {{ join " " $of.databases | quote }}}
                - {name: PGPASSWORD_FILE, value: /run/password/password}
                {{- else }}
                - {name: KEYS_DIR, value: /keys}
                {{- end }}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {drop: [ALL]}
              resources:
                {{- toYaml $b.resources | nindent 16 }}
              volumeMounts:
                - {name: scripts, mountPath: /opt/backup, readOnly: true}
                - name: target
                  mountPath: /backup
                {{- if eq .part "postgres" }}
                - {name: password, mountPath: /run/password, readOnly: true}
                {{- else if eq .part "keys" }}
                {{- range $of.secrets }}
                - {name: {{ . }}, mountPath: /keys/{{ . }}, readOnly: true}
                {{- end }}
                {{- else }}
                - name: data
                  mountPath: {{ .how.path }}
                  {{- with .how.subPath }}
                  subPath: {{ . }}
                  {{- end }}
                {{- end }}
          volumes:
            - name: scripts
              configMap: {name: weir-stack-backup}
            - name: target
              {{- if $b.target.volume }}
              {{- toYaml $b.target.volume | nindent 14 }}
              {{- else }}
              persistentVolumeClaim:
                claimName: {{ $b.target.existingClaim | default (printf "weir-stack-backup-%s" .part) }}
              {{- end }}
            {{- if eq .part "postgres" }}
            - name: password
              secret:
                secretName: {{ $of.passwordSecret }}
                items: [{key: {{ $of.passwordKey }}, path: password}]
                defaultMode: 0440
            {{- else if eq .part "keys" }}
            {{- range $of.secrets }}
            - name: {{ . }}
              secret: {secretName: {{ . }}, defaultMode: 0440}
            {{- end }}
            {{- else }}
            - name: data
              persistentVolumeClaim:
                claimName: {{ $of.claim }}
            {{- end }}
{{- end }}

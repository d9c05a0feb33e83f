{{/* Names. Everything that is made is <fullname>-<part>; 63 characters is what a label and a Service may have, and
     the longest part with the ordinal of a pod, its revision hash or a job's takes 24. */}}
{{- define "rs.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rs.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) }}
{{- /* A release may have dots in its name and begin with a digit; a Service may not. */}}
{{- $full = $full | replace "." "-" }}
{{- if regexMatch "^[0-9]" $full }}{{ $full = printf "r%s" $full }}{{ end }}
{{- if gt (len $full) 39 }}{{ $full = printf "%s-%s" ($full | trunc 30 | trimSuffix "-") (sha256sum $full | trunc 8) }}{{ end }}
{{- $full }}
{{- end }}

{{- define "rs.selector" -}}
app.kubernetes.io/name: {{ include "rs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* (dict "root" $ "part" "valkey") */}}
{{- define "rs.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rs.selector" .root }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: redis-sessions
app.kubernetes.io/component: {{ .part }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "rs.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* A quantity of memory in bytes. */}}
{{- define "rs.bytes" -}}
{{- $text := toString . }}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$" $text) }}
{{- fail (printf "valkey.resources.limits.memory is %q: write it as 512Mi, 4Gi or 2G, because maxmemory is derived from it" $text) }}
{{- end }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- mulf (float64 (regexFind "^[0-9.]+" $text)) (get $units (regexFind "[A-Za-z]*$" $text)) | floor | int64 }}
{{- end }}

{{- define "rs.maxmemory" -}}
{{- div (mul (include "rs.bytes" .Values.valkey.resources.limits.memory | int64) (.Values.valkey.maxmemoryPercent | int64)) 100 }}
{{- end }}

{{- define "rs.isServed" -}}{{ if ne .Values.mode "external" }}true{{ end }}{{- end }}
{{- define "rs.nodes" -}}
{{- if eq .Values.mode "cluster" }}{{ mul (.Values.cluster.primaries | int) (add 1 (.Values.cluster.replicas | int)) }}{{ else if eq .Values.mode "sentinel" }}{{ .Values.sentinel.nodes }}{{ else }}1{{ end }}
{{- end }}
{{- define "rs.peers" -}}{{ $f := include "rs.fullname" . }}{{ $f }}-valkey-%s.{{ $f }}-valkey-nodes.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}{{- end }}
{{- define "rs.sentinelPeers" -}}{{ $f := include "rs.fullname" . }}{{ $f }}-sentinel-%s.{{ $f }}-sentinel-nodes.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}{{- end }}
{{- define "rs.authSecret" -}}{{ .Values.auth.existingSecret | default (printf "%s-auth" (include "rs.fullname" .)) }}{{- end }}
{{- define "rs.tlsSecret" -}}{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "rs.fullname" .)) }}{{- end }}
{{- define "rs.backupClaim" -}}{{ .Values.backup.existingClaim | default (printf "%s-backup" (include "rs.fullname" .)) }}{{- end }}

{{/* Where clients find Redis. */}}
{{- define "rs.url" -}}
{{- $scheme := ternary "rediss" "redis" .Values.tls.enabled }}
{{- $service := printf "%s-valkey.%s.svc.%s:6379" (include "rs.fullname" .) .Release.Namespace .Values.clusterDomain }}
{{- if eq .Values.mode "external" }}{{ .Values.external.url }}
{{- else if eq .Values.mode "cluster" }}{{ $scheme }}+cluster://{{ $service }}
{{- else if eq .Values.mode "sentinel" }}
{{- $hosts := list }}
{{- range $i := until (int .Values.sentinel.sentinels) }}{{ $hosts = append $hosts (printf "%s:26379" (printf (include "rs.sentinelPeers" $) (toString $i))) }}{{ end }}
{{- $scheme }}+sentinel://{{ join "," $hosts }}/{{ .Values.sentinel.service }}
{{- else }}{{ $scheme }}://{{ $service }}/0
{{- end }}
{{- end }}
{{- define "rs.username" -}}{{ if eq .Values.mode "external" }}{{ .Values.external.username }}{{ else }}{{ .Values.auth.username }}{{ end }}{{- end }}
{{/* The Secret and key of the password of the store's user; nothing where there is no password. */}}
{{- define "rs.passwordSecret" -}}{{ if eq .Values.mode "external" }}{{ .Values.external.existingSecret }}{{ else }}{{ include "rs.authSecret" . }}{{ end }}{{- end }}
{{- define "rs.passwordKey" -}}{{ ternary .Values.external.passwordKey "password" (eq .Values.mode "external") }}{{- end }}
{{/* The Secret with the CA certificates; nothing where those of the system do. */}}
{{- define "rs.caSecret" -}}{{ if eq .Values.mode "external" }}{{ .Values.external.caSecret }}{{ else if .Values.tls.enabled }}{{ include "rs.tlsSecret" . }}{{ end }}{{- end }}

{{/* Settings of the store, by environment variable; no secrets. */}}
{{- define "rs.storeSettings" -}}
REDIS_SESSIONS_URL: {{ include "rs.url" . | quote }}
REDIS_SESSIONS_PREFIX: {{ .Values.store.prefix | quote }}
{{- with include "rs.username" . }}
REDIS_SESSIONS_USERNAME: {{ . | quote }}
{{- end }}
{{- if eq .Values.mode "sentinel" }}
REDIS_SESSIONS_SENTINEL_USERNAME: {{ .Values.auth.username | quote }}
{{- end }}
{{- if include "rs.caSecret" . }}
REDIS_SESSIONS_TLS_CA_FILE: /etc/redis-sessions/tls/ca.crt
{{- end }}
{{- range $name, $value := .Values.store.settings }}
REDIS_SESSIONS_{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{/* Passwords as environment variables, from the Secret that has them. */}}
{{- define "rs.passwordEnv" -}}
{{- if include "rs.passwordSecret" . }}
- name: REDIS_SESSIONS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "rs.passwordSecret" . }}, key: {{ include "rs.passwordKey" . }}}}
{{- if eq .Values.mode "sentinel" }}
- name: REDIS_SESSIONS_SENTINEL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "rs.passwordSecret" . }}, key: {{ include "rs.passwordKey" . }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "rs.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rs.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Spread over nodes and zones: (dict "root" $ "part" "valkey" "kind" "soft") */}}
{{- define "rs.spread" -}}
{{- $labels := printf "%s\napp.kubernetes.io/component: %s" (include "rs.selector" .root) .part }}
{{- if ne .kind "none" }}
affinity:
  podAntiAffinity:
    {{- if eq .kind "hard" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- $labels | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- $labels | nindent 14 }}
    {{- end }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
{{- end }}

{{/* What the scripts in pods of the tier need to know. */}}
{{- define "rs.scriptEnv" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: MODE, value: {{ .Values.mode }}}
- {name: PORT, value: "6379"}
- {name: TLS, value: {{ ternary "yes" "no" .Values.tls.enabled | quote }}}
- {name: STORE_USER, value: {{ .Values.auth.username | quote }}}
- {name: PEERS, value: {{ include "rs.peers" . | quote }}}
- {name: NODES, value: {{ include "rs.nodes" . | quote }}}
{{- if eq .Values.mode "sentinel" }}
- {name: SERVICE, value: {{ .Values.sentinel.service | quote }}}
- {name: SENTINEL_PEERS, value: {{ include "rs.sentinelPeers" . | quote }}}
- {name: SENTINELS, value: {{ .Values.sentinel.sentinels | quote }}}
- {name: SENTINEL_PORT, value: "26379"}
{{- end }}
{{- end }}

{{- define "rs.scriptMounts" -}}
- {name: config, mountPath: /etc/valkey, readOnly: true}
- {name: auth, mountPath: /etc/valkey-auth, readOnly: true}
- {name: run, mountPath: /run/valkey}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/valkey-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "rs.scriptVolumes" -}}
- name: config
  configMap: {name: {{ include "rs.fullname" . }}-valkey, defaultMode: 0444}
- name: auth
  secret: {secretName: {{ include "rs.authSecret" . }}, defaultMode: 0440}
- name: run
  emptyDir: {medium: Memory, sizeLimit: 4Mi}
{{- if .Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "rs.tlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* Anew when what the server reads at its start has changed. Of Secrets that are not ours the cluster is asked; what
     cannot be seen, as in "helm template", counts as unchanged. TLS files are reloaded by Valkey itself. */}}
{{- define "rs.checksums" -}}
checksum/config: {{ include "rs.config" . | sha256sum }}
{{- if .Values.auth.existingSecret }}
{{- with (lookup "v1" "Secret" .Release.Namespace .Values.auth.existingSecret) }}
checksum/auth: {{ .data | toJson | sha256sum }}
{{- end }}
{{- end }}
{{- end }}

{{/* What values.schema.json cannot say. */}}
{{- define "rs.check" -}}
{{- $v := .Values }}
{{- if and $v.tls.enabled (ne $v.mode "external") (not $v.tls.existingSecret) (not $v.tls.certManager.issuer) }}
{{- fail "tls.enabled needs a certificate: name a Secret in tls.existingSecret, or an issuer in tls.certManager.issuer" }}
{{- end }}
{{- if contains "@" $v.external.url }}
{{- fail "external.url holds a user or a password: put them into external.username and external.existingSecret" }}
{{- end }}
{{- range $name, $_ := $v.store.settings }}
{{- if not (regexMatch "^[A-Z][A-Z0-9_]*$" $name) }}
{{- fail (printf "store.settings.%s: names are written as in REDIS_SESSIONS_TTL, without the beginning: TTL" $name) }}
{{- end }}
{{- if has $name (list "URL" "PREFIX" "USERNAME" "PASSWORD" "PASSWORD_FILE" "SENTINEL_USERNAME" "SENTINEL_PASSWORD" "TLS_CA_FILE") }}
{{- fail (printf "store.settings.%s: this one has a value of its own in this chart, or is a secret" $name) }}
{{- end }}
{{- end }}
{{- range $name, $_ := $v.monitor.settings }}
{{- if not (regexMatch "^[A-Z][A-Z0-9_]*$" $name) }}
{{- fail (printf "monitor.settings.%s: names are written as in REDIS_SESSIONS_MONITOR_RATE_LIMIT, without the beginning: RATE_LIMIT" $name) }}
{{- end }}
{{- if has $name (list "ACCESS" "KEYS" "KEYS_FILE" "LANGFLOW_URL") }}
{{- fail (printf "monitor.settings.%s: use monitor.access" $name) }}
{{- end }}
{{- end }}
{{- range $name, $_ := $v.valkey.config }}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" $name) }}
{{- fail (printf "valkey.config.%s is not the name of a directive" $name) }}
{{- end }}
{{- if has $name (list "port" "tls-port" "bind" "dir" "aclfile" "requirepass" "user" "include" "maxmemory" "maxmemory-policy" "appendonly" "replicaof" "primaryauth" "masterauth" "primaryuser" "masteruser" "cluster-enabled" "cluster-port" "enable-debug-command") }}
{{- fail (printf "valkey.config.%s: the chart decides this one" $name) }}
{{- end }}
{{- end }}
{{- if and (eq $v.mode "external") (not $v.external.url) }}
{{- fail "mode external needs external.url, as rediss://redis.example:6379/0" }}
{{- end }}
{{- if and $v.monitor.enabled (eq $v.monitor.access.kind "keys") (not $v.monitor.access.keysSecret) }}
{{- fail "monitor.access.kind keys needs monitor.access.keysSecret: put the line of `redis-sessions key new` into a Secret under the key keys; or use langflow; or set monitor.enabled=false" }}
{{- end }}
{{- if and $v.monitor.enabled (eq $v.monitor.access.kind "langflow") (not $v.monitor.access.langflowUrl) }}
{{- fail "monitor.access.kind langflow needs monitor.access.langflowUrl, as http://langflow-service-backend:7860" }}
{{- end }}
{{- if and $v.monitor.ingress.enabled (not $v.monitor.ingress.hosts) }}
{{- fail "monitor.ingress.enabled needs monitor.ingress.hosts: the host names of Langflow" }}
{{- end }}
{{- if and $v.monitor.httpRoute.enabled (not $v.monitor.httpRoute.parentRefs) }}
{{- fail "monitor.httpRoute.enabled needs monitor.httpRoute.parentRefs: the gateways that it belongs to" }}
{{- end }}
{{- if and $v.monitor.autoscaling.enabled (not $v.monitor.autoscaling.targetCpuPercent) (not $v.monitor.autoscaling.targetRequestsPerSecond) }}
{{- fail "monitor.autoscaling needs a target: targetCpuPercent or targetRequestsPerSecond" }}
{{- end }}
{{- if gt (int $v.monitor.autoscaling.minReplicas) (int $v.monitor.autoscaling.maxReplicas) }}
{{- fail "monitor.autoscaling.minReplicas is above maxReplicas" }}
{{- end }}
{{- if and (eq $v.mode "sentinel") (gt (int $v.sentinel.quorum) (int $v.sentinel.sentinels)) }}
{{- fail "sentinel.quorum is above sentinel.sentinels: no failover could ever begin" }}
{{- end }}
{{- if and (eq $v.mode "sentinel") (ge (int $v.sentinel.minReplicasToWrite) (int $v.sentinel.nodes)) }}
{{- fail "sentinel.minReplicasToWrite is not below sentinel.nodes: no write could ever be accepted" }}
{{- end }}
{{- if and (ne $v.mode "external") (has $v.auth.username (list "default" "admin" "replication" "failover" "probe" "exporter")) }}
{{- fail (printf "auth.username %q is the name of another user" $v.auth.username) }}
{{- end }}
{{- end }}

{{/* Generated passwords, in .Values.passwords_ for all templates of one rendering: those that the cluster has, new ones
     for the rest. "helm template" sees no cluster, and makes new ones each time: name a Secret there. */}}
{{- define "rs.passwords" -}}
{{- if not (hasKey .Values "passwords_") }}
{{- $there := (lookup "v1" "Secret" .Release.Namespace (include "rs.authSecret" .)).data | default dict }}
{{- $all := dict }}
{{- range list "password" "admin-password" "replication-password" "failover-password" "probe-password" "exporter-password" }}
{{- $_ := set $all . (get $there . | default (randAlphaNum 40 | b64enc)) }}
{{- end }}
{{- range $key, $value := $there }}
{{- if hasSuffix "-previous" $key }}{{ $_ := set $all $key $value }}{{ end }}
{{- end }}
{{- $_ := set .Values "passwords_" $all }}
{{- end }}
{{- end }}

{{/* The files that pods of the tier see in /etc/valkey. */}}
{{- define "rs.config" -}}
{{- range $path, $content := .Files.Glob "files/scripts/*.sh" }}
{{ base $path }}: |
{{ toString $content | trimSuffix "\n" | indent 2 }}
{{- end }}
valkey.conf: |
{{ include "rs.valkeyConf" . | indent 2 }}
users.acl: |
{{ include "rs.users" . | indent 2 }}
{{- if eq .Values.mode "sentinel" }}
sentinel.conf: |
{{ include "rs.sentinelConf" . | indent 2 }}
sentinel-users.acl: |
{{ include "rs.sentinelUsers" . | indent 2 }}
{{- end }}
{{- end }}

{{- define "rs.listen" -}}
bind * -::*
protected-mode no
{{- if .tls }}
port 0
tls-port {{ .port }}
tls-replication yes
tls-auth-clients no
tls-protocols "TLSv1.2 TLSv1.3"
# A renewed certificate is used without a restart.
tls-auto-reload-interval 60
{{- else }}
port {{ .port }}
{{- end }}
{{- end }}

{{- define "rs.valkeyConf" -}}
{{ include "rs.listen" (dict "tls" .Values.tls.enabled "port" 6379) }}
tcp-keepalive 60
daemonize no
logfile ""
set-proc-title no
enable-debug-command no
enable-module-command no
enable-protected-configs no

# {{ .Values.valkey.maxmemoryPercent }} % of the memory limit: the rest is for forks, buffers and fragmentation. Sessions are data, not a cache: when
# memory is full, writes are refused, and nothing is thrown away.
maxmemory {{ include "rs.maxmemory" . }}
maxmemory-policy noeviction
client-output-buffer-limit replica {{ div (include "rs.maxmemory" . | int64) 5 }} {{ div (include "rs.maxmemory" . | int64) 10 }} 60
# A huge session that is deleted, expires or is replaced is freed beside the commands that wait.
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes
lazyfree-lazy-user-del yes
lazyfree-lazy-user-flush yes
replica-lazy-flush yes
# When the pod's memory is used up, the fork goes and not the server.
oom-score-adj relative

# An acknowledged write is on disk within a second. Snapshots would fork once more, for nothing.
appendonly yes
appendfsync everysec
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""
stop-writes-on-bgsave-error yes
rdbchecksum yes

# Scripts of this package take milliseconds; one that takes longer is told in the log.
busy-reply-threshold 5000
slowlog-log-slower-than 20000
latency-monitor-threshold 100
shutdown-timeout 20
{{- if ne .Values.mode "standalone" }}

repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-backlog-size {{ max 16777216 (div (include "rs.maxmemory" . | int64) 20) }}
replica-serve-stale-data yes
replica-read-only yes
{{- end }}
{{- if eq .Values.mode "sentinel" }}
min-replicas-to-write {{ .Values.sentinel.minReplicasToWrite }}
min-replicas-max-lag 10
{{- end }}
{{- if eq .Values.mode "cluster" }}

cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {{ int .Values.cluster.nodeTimeoutMilliseconds }}
cluster-preferred-endpoint-type hostname
cluster-require-full-coverage {{ ternary "yes" "no" .Values.cluster.requireFullCoverage }}
# Who replicates whom is the job's business.
cluster-allow-replica-migration no
cluster-replica-validity-factor 10
cluster-port 16379
{{- if .Values.tls.enabled }}
tls-cluster yes
{{- end }}
{{- end }}
{{- range $name, $value := .Values.valkey.config }}
{{- range (kindIs "slice" $value | ternary $value (list $value)) }}
{{ $name }} {{ kindIs "float64" . | ternary (int64 (kindIs "float64" . | ternary . 0)) . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rs.sentinelConf" -}}
{{ include "rs.listen" (dict "tls" .Values.tls.enabled "port" 26379) }}
daemonize no
logfile ""
set-proc-title no
sentinel deny-scripts-reconfig yes
{{- end }}

{{/* Users and their rules; start.sh adds the passwords. The first is what redis_sessions/acl.py says. */}}
{{- define "rs.users" -}}
{{ .Values.auth.username }} resetkeys resetchannels -@all ~{{ .Values.store.prefix }}:* {{ .Files.Get "files/store-commands.txt" | trim | splitList "\n" | join " " }}
admin allkeys allchannels +@all
{{- /* A slot that moves is written at its new node by this user, key by key. */}}
replication {{ if eq .Values.mode "cluster" }}allkeys resetchannels -@all +@write -@dangerous +select +multi +exec +cluster|syncslots{{ else }}resetkeys resetchannels -@all{{ end }} +ping +psync +sync +replconf
probe resetkeys resetchannels -@all +ping +info{{ if eq .Values.mode "cluster" }} +cluster|info{{ end }}
{{- if eq .Values.mode "sentinel" }}
failover resetkeys allchannels -@all +ping +info +role +multi +exec +replicaof +slaveof +failover +config|rewrite +client|setname +client|kill +client|pause +client|unpause +script|kill +subscribe +publish
{{- else if eq .Values.mode "cluster" }}
failover resetkeys resetchannels -@all +ping +role +cluster|failover +cluster|info +cluster|meet +cluster|myid +cluster|nodes
{{- end }}
{{- if .Values.valkey.exporter.enabled }}
exporter resetkeys resetchannels -@all +ping +info +client|setname +cluster|info +slowlog|len +slowlog|get +latency|latest +latency|histogram +select
{{- end }}
{{- end }}

{{- define "rs.sentinelUsers" -}}
{{ .Values.auth.username }} resetkeys resetchannels -@all {{ .Files.Get "files/sentinel-commands.txt" | trim | splitList "\n" | join " " }}
admin allkeys allchannels +@all
failover resetkeys allchannels -@all +ping +info +role +subscribe +publish +client|setname +sentinel
probe resetkeys resetchannels -@all +ping +info
{{- end }}

{{/* The pod of a job of the tier: (dict "root" $ "part" "cluster" "command" (list ...) "config" name-of-the-ConfigMap) */}}
{{- define "rs.jobPod" -}}
metadata:
  labels: {{- include "rs.labels" (dict "root" .root "part" .part) | nindent 4 }}
    redis-sessions/tier: "true"
spec:
  serviceAccountName: {{ .account | default (include "rs.fullname" .root) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: {{ .restart | default "Never" }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- range . }}{{ nindent 4 (printf "- name: %s" .) }}{{ end }}
  {{- end }}
  {{- with .root.Values.valkey.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.valkey.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "rs.podSecurity" 10001 | nindent 4 }}
  containers:
    - name: {{ .part }}
      image: {{ include "rs.image" (dict "root" .root "image" .root.Values.valkey.image) | quote }}
      imagePullPolicy: {{ .root.Values.valkey.image.pullPolicy }}
      command: {{ toJson .command }}
      env:
        {{- include "rs.scriptEnv" .root | nindent 8 }}
        {{- range $name, $value := .env }}
        - {name: {{ $name }}, value: {{ $value | toString | quote }}}
        {{- end }}
      resources: {{- toYaml .resources | nindent 8 }}
      securityContext: {{- include "rs.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        {{- include "rs.scriptMounts" .root | nindent 8 }}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "rs.scriptVolumes" .root | nindent 4 }}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "rs.smallJob" -}}
requests: {cpu: 50m, memory: 32Mi}
limits: {memory: 64Mi}
{{- end }}

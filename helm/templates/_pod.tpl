{{/* The pod: shared by the Deployments, the topics Job and the test. */}}

{{/* What every pod of the chart begins with. */}}
{{- define "twilio-kafka.podDefaults" -}}
automountServiceAccountToken: false
enableServiceLinks: false  # a Service called connector would give the connector variables that it refuses
{{- with include "twilio-kafka.pullSecrets" . }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Image and security of a container. */}}
{{- define "twilio-kafka.containerDefaults" -}}
image: {{ include "twilio-kafka.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Environment: where the configuration is, and the files with secrets. Of: variables, role (with perRole). */}}
{{- define "twilio-kafka.env" -}}
- name: CONNECTOR_CONFIG
  value: /etc/twilio-kafka/config/connector.yaml
{{- with .role }}
- name: CONNECTOR_ROLES
  value: {{ . }}
{{- end }}
{{- range $variable, $key := .variables }}
- name: {{ $variable }}_FILE
  value: /etc/twilio-kafka/secrets/{{ $key }}
{{- end }}
{{- end -}}

{{/* Mounts. Of: root, variables. */}}
{{- define "twilio-kafka.mounts" -}}
- {name: config, mountPath: /etc/twilio-kafka/config, readOnly: true}
{{- if .variables }}
- {name: secrets, mountPath: /etc/twilio-kafka/secrets, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- include "twilio-kafka.tlsMounts" .root }}
{{- end -}}

{{/* Environment and mounts of the connector and of the check of its configuration. Of: root, component, workload, variables. */}}
{{- define "twilio-kafka.surroundings" -}}
env:
  {{- with .workload.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- $role := .root.Values.perRole.enabled | ternary .component "" }}
  {{- include "twilio-kafka.env" (dict "variables" .variables "role" $role) | nindent 2 }}
{{- with .workload.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "twilio-kafka.mounts" . | nindent 2 }}
  {{- with .workload.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where pods run. Of: a workload. */}}
{{- define "twilio-kafka.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "dnsPolicy" "dnsConfig" "hostAliases" }}
{{- with get $ $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of: root, component, selector (YAML), workload. */}}
{{- define "twilio-kafka.topologySpread" -}}
{{- if and .workload.topologySpread.enabled .workload.topologySpread.constraints }}
topologySpreadConstraints:
  {{- range .workload.topologySpread.constraints }}
  - {{ toYaml . | indent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "twilio-kafka.selector" $ | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Writable: recordings are spooled to a temporary file. Of: sizeLimit, medium. */}}
{{- define "twilio-kafka.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .sizeLimit }}
    {{- with .medium }}
    medium: {{ . }}
    {{- end }}
{{- end -}}

{{/* Of: path, settings. */}}
{{- define "twilio-kafka.probe" -}}
httpGet: {path: {{ .path }}, port: admin}
{{ toYaml .settings }}
{{- end -}}

{{/* Names, labels, image: what every template needs. */}}

{{- define "twilio-kafka.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 44 characters, so that what is added to it fits into 63. */}}
{{- define "twilio-kafka.fullname" -}}
{{- $name := include "twilio-kafka.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "twilio-kafka.labels" -}}
app.kubernetes.io/name: {{ include "twilio-kafka.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "twilio-kafka.name" . | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod. Of: root, component, more. */}}
{{- define "twilio-kafka.podLabels" -}}
{{- merge (include "twilio-kafka.selector" . | fromYaml) (.more | default dict) (include "twilio-kafka.labels" .root | fromYaml) | toYaml -}}
{{- end -}}

{{/* Name, labels and annotations of an object. Of: root; name or a suffix; namespace; more labels and annotations. */}}
{{- define "twilio-kafka.metadata" -}}
name: {{ .name | default (list (include "twilio-kafka.fullname" .root) .suffix | compact | join "-") }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- merge (dict) (.labels | default dict) (include "twilio-kafka.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What selects the pods of a Deployment. Of: root, component. */}}
{{- define "twilio-kafka.selector" -}}
app.kubernetes.io/name: {{ include "twilio-kafka.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "twilio-kafka.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "twilio-kafka.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "twilio-kafka.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- define "twilio-kafka.secretName" -}}
{{- .Values.secrets.name | default (include "twilio-kafka.fullname" .) -}}
{{- end -}}

{{/* The second part of a Deployment's name: none for the only Deployment, else its role. */}}
{{- define "twilio-kafka.suffix" -}}
{{- if ne . "connector" }}{{ . }}{{ end -}}
{{- end -}}

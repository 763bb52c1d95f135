{{/* Names, labels, image: what every template needs. */}}

{{- define "twilio-kafka.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 44 characters, so that what is added to it fits into 63. A Service's name begins with a letter. */}}
{{- define "twilio-kafka.fullname" -}}
{{- $name := include "twilio-kafka.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = regexMatch "^[0-9]" $full | ternary (printf "tk-%s" $full) $full | replace "." "-" -}}
{{- .Values.fullnameOverride | default $full | trunc 44 | regexFind "^.*[^-.]" -}}
{{- end -}}

{{- define "twilio-kafka.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* What everything has; of the same names, the chart's own labels win, since selectors need them. */}}
{{- define "twilio-kafka.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "twilio-kafka.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_")
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" (include "twilio-kafka.name" .)
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | regexFind "^.*[A-Za-z0-9]")
-}}
{{- merge $own (.Values.commonLabels | default dict) | toYaml -}}
{{- end -}}

{{/* Labels of a pod. Of: root, component, more. */}}
{{- define "twilio-kafka.podLabels" -}}
{{- merge (include "twilio-kafka.selector" . | fromYaml) (.more | default dict) (include "twilio-kafka.labels" .root | fromYaml) | toYaml -}}
{{- end -}}

{{/* Name, labels and annotations of an object. Of: root; name or a suffix; namespace; more labels and annotations. */}}
{{- define "twilio-kafka.metadata" -}}
name: {{ .name | default (list (include "twilio-kafka.fullname" .root) .suffix | compact | join "-") }}
namespace: {{ .namespace | default (include "twilio-kafka.namespace" .root) }}
labels:
  {{- merge (dict) (.labels | default dict) (include "twilio-kafka.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
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
{{- with (.Values.global | default dict).imageRegistry | default $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Those of an umbrella chart and our own, as the pod takes them. */}}
{{- define "twilio-kafka.pullSecrets" -}}
{{- $found := list -}}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- $found = append $found (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $found | uniq }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "twilio-kafka.configMapName" -}}
{{- .Values.existingConfigMap.name | default (include "twilio-kafka.fullname" .) -}}
{{- end -}}

{{/* The volume of the configuration file. Of: root, name (of a ConfigMap instead of the usual one). */}}
{{- define "twilio-kafka.configVolume" -}}
- name: config
  configMap:
    name: {{ .root.Values.existingConfigMap.name | default .name }}
    {{- if .root.Values.existingConfigMap.name }}
    items: [{key: {{ .root.Values.existingConfigMap.key }}, path: connector.yaml}]
    {{- end }}
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

{{- define "twilio-kafka.ipFamilies" -}}
{{- range $key := list "ipFamilyPolicy" "ipFamilies" }}
{{- with get $.Values.service $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end -}}

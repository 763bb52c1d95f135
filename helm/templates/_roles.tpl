{{/* Roles, the Deployments that carry them, and the callback URL. */}}

{{/* The roles of the configuration, separated by commas. Without config.roles as the connector chooses them. */}}
{{- define "twilio-kafka.roles" -}}
{{- $callbacks := .Values.config.callbacks -}}
{{- $default := list "watch" "commands" -}}
{{- if or $callbacks.public_url (eq ($callbacks.verify_signatures | toString) "false") -}}
{{- $default = list "watch" "callbacks" "commands" -}}
{{- end -}}
{{- .Values.config.roles | default $default | join "," | nospace -}}
{{- end -}}

{{- define "twilio-kafka.hasRole" -}}
{{- if has .role (splitList "," (include "twilio-kafka.roles" .root)) }}true{{ end -}}
{{- end -}}

{{/* Component -> its values, as YAML: one component `connector`, or one for each role. */}}
{{- define "twilio-kafka.workloads" -}}
{{- if .Values.perRole.enabled }}
{{- range $role := splitList "," (include "twilio-kafka.roles" .) }}
{{ $role }}: {{ mergeOverwrite (deepCopy $.Values.workload) (get $.Values.perRole $role) | toJson }}
{{- end }}
{{- else }}
connector: {{ .Values.workload | toJson }}
{{- end }}
{{- end -}}

{{/* The component that has a role. Of: root, role. */}}
{{- define "twilio-kafka.component" -}}
{{- .root.Values.perRole.enabled | ternary .role "connector" -}}
{{- end -}}

{{/* What Twilio calls: public_url without the slash at its end, and the path below it. */}}
{{- define "twilio-kafka.callbackUrl" -}}
{{- printf "%s/callbacks" (trimSuffix "/" (.Values.config.callbacks.public_url | default "")) -}}
{{- end -}}

{{/* The host of public_url as the DNS writes it, without a port. */}}
{{- define "twilio-kafka.publicHost" -}}
{{- (urlParse (.Values.config.callbacks.public_url | default "")).hostname | lower -}}
{{- end -}}

{{/* Seconds of a duration such as 1m30s, rounded up. */}}
{{- define "twilio-kafka.seconds" -}}
{{- $unit := dict "d" 86400.0 "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|d|h|m|s)" (toString .) -1 -}}
{{- $sum = addf $sum (mulf (float64 (regexFind "[0-9.]+" .)) (get $unit (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end -}}

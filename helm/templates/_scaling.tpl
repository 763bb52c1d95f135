{{/* How many pods, and how long one may take to end. */}}

{{/* Whether a Deployment follows the lag of the command topics. Of: root, component, workload. */}}
{{- define "twilio-kafka.scalesByLag" -}}
{{- $executes := and (has .component (list "connector" "commands")) (include "twilio-kafka.hasRole" (dict "root" .root "role" "commands")) -}}
{{- if and .workload.autoscaling.lag.enabled $executes }}true{{ end -}}
{{- end -}}

{{/* The commands whose topics are watched. Of: root, workload. */}}
{{- define "twilio-kafka.scaledCommands" -}}
{{- $all := list -}}
{{- range $topic, $_ := .root.Files.Get "files/topics.yaml" | fromYaml -}}
{{- if hasPrefix "commands." $topic }}{{ $all = append $all (trimPrefix "commands." $topic) }}{{ end -}}
{{- end -}}
{{- .workload.autoscaling.lag.commands | default (sortAlpha $all) | join "," -}}
{{- end -}}

{{/* KEDA's word for the SASL mechanism of the configuration; empty where it has none. */}}
{{- define "twilio-kafka.kedaSasl" -}}
{{- $words := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" -}}
{{- if hasPrefix "SASL" .Values.config.kafka.security_protocol -}}
{{- get $words ((.Values.config.kafka.sasl | default dict).mechanism | default "") -}}
{{- end -}}
{{- end -}}

{{/* KEDA's parameter -> Secret and key, as YAML. */}}
{{- define "twilio-kafka.kedaParameters" -}}
{{- $variables := include "twilio-kafka.variables" . | fromYaml -}}
{{- $secret := include "twilio-kafka.secretName" . -}}
{{- if include "twilio-kafka.kedaSasl" . }}
username: {{ list $secret (get $variables "CONNECTOR_KAFKA__SASL__USERNAME") | toJson }}
password: {{ list $secret (get $variables "CONNECTOR_KAFKA__SASL__PASSWORD") | toJson }}
{{- end }}
{{- with .Values.kafkaTls }}{{ if .enabled }}
{{- with .ca }}{{ if .secretName }}
ca: {{ list .secretName .key | toJson }}
{{- end }}{{ end }}
{{- with .client }}{{ if .secretName }}
cert: {{ list .secretName .certKey | toJson }}
key: {{ list .secretName .keyKey | toJson }}
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- end -}}

{{/* Of: root, workload. */}}
{{- define "twilio-kafka.terminationGrace" -}}
{{- $least := add .workload.preStopSeconds (include "twilio-kafka.seconds" .root.Values.config.shutdown_grace) -}}
{{- .workload.terminationGracePeriodSeconds | default (add $least 5) | int -}}
{{- end -}}

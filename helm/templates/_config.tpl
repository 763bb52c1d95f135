{{/* The configuration file and the secrets that go with it. */}}

{{/*
Once, before anything is made: templates in `config` are replaced, `config` becomes what the chart knows of it, and what
does not fit together is told. `${VAR}` stays in the file for the connector; the chart knows those of workload.extraEnv,
and defaults of variables that no environment sets.
*/}}
{{- define "twilio-kafka.prepare" -}}
{{- if not (hasKey .Values "configFile") -}}
{{- $text := toYaml .Values.config -}}
{{- if contains "{{" $text }}{{ $text = tpl $text . }}{{ end -}}
{{- $file := fromYaml $text -}}
{{- with $file.Error }}{{ fail (printf "config is no YAML once its templates are replaced: %s" .) }}{{ end -}}
{{- range .Values.workload.extraEnv -}}
{{- if kindIs "string" .value -}}
{{- $text = regexReplaceAllLiteral (printf "\\$\\{%s(:-[^}\n]*)?\\}" (regexQuoteMeta .name)) $text .value -}}
{{- end -}}
{{- end -}}
{{- if not .Values.workload.extraEnvFrom -}}
{{- $named := list -}}
{{- range .Values.workload.extraEnv }}{{ $named = append $named .name }}{{ end -}}
{{- range regexFindAll "\\$\\{[A-Za-z_][A-Za-z0-9_]*:-[^}\n]*\\}" $text -1 | uniq -}}
{{- $name := regexFind "[A-Za-z_][A-Za-z0-9_]*" . -}}
{{- if not (has $name $named) -}}
{{- $text = replace . (trimSuffix "}" . | trimPrefix (printf "${%s:-" $name)) $text -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $known := fromYaml $text -}}
{{- $_ := set .Values "config" (hasKey $known "Error" | ternary $file $known) -}}
{{- $_ := set .Values "configFile" $file -}}
{{- include "twilio-kafka.checks" . -}}
{{- end -}}
{{- end -}}

{{/* The configuration file, with the certificates that are mounted. */}}
{{- define "twilio-kafka.config" -}}
{{- $config := deepCopy .Values.configFile -}}
{{- if .Values.kafkaTls.enabled -}}
{{- $_ := set $config.kafka "tls" (mergeOverwrite (include "twilio-kafka.tlsFiles" . | fromYaml) ($config.kafka.tls | default dict)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "twilio-kafka.tlsFiles" -}}
{{- with .Values.kafkaTls.ca }}{{ if .secretName }}
ca_file: /etc/twilio-kafka/ca/{{ .key }}
{{- end }}{{ end }}
{{- with .Values.kafkaTls.client }}{{ if .secretName }}
cert_file: /etc/twilio-kafka/client/{{ .certKey }}
key_file: /etc/twilio-kafka/client/{{ .keyKey }}
{{- end }}{{ end }}
{{- end -}}

{{/* Variable -> key of the Secret, as YAML, without those that the connector would not use. */}}
{{- define "twilio-kafka.variables" -}}
{{- $connections := .Values.config.connections | default dict -}}
{{- range $variable, $key := .Values.secrets.variables }}
{{- $setting := $variable | trimPrefix "TWILIO_" | lower }}
{{- $given := and (hasPrefix "TWILIO_" $variable) (or (and $connections (not (hasKey $connections "default"))) (get ($connections.default | default dict) $setting)) }}
{{- if and $key (not $given) }}
{{ $variable }}: {{ $key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The same, only those of the broker. */}}
{{- define "twilio-kafka.kafkaVariables" -}}
{{- range $variable, $key := include "twilio-kafka.variables" . | fromYaml }}
{{- if regexMatch "^(CONNECTOR_)?KAFKA_" $variable }}
{{ $variable }}: {{ $key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A Secret's keys that variables name, as a volume. Of: secretName, variables. */}}
{{- define "twilio-kafka.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      {{- range values .variables | uniq | sortAlpha }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end -}}

{{- define "twilio-kafka.tlsVolumes" -}}
{{- with .Values.kafkaTls }}{{ if .enabled }}
{{- with .ca }}{{ if .secretName }}
- name: kafka-ca
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items: [{key: {{ .key }}, path: {{ .key }}}]
{{- end }}{{ end }}
{{- with .client }}{{ if .secretName }}
- name: kafka-client
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items: [{key: {{ .certKey }}, path: {{ .certKey }}}, {key: {{ .keyKey }}, path: {{ .keyKey }}}]
{{- end }}{{ end }}
{{- end }}{{ end }}
{{- end -}}

{{- define "twilio-kafka.tlsMounts" -}}
{{- with .Values.kafkaTls }}{{ if .enabled }}
{{- if .ca.secretName }}
- {name: kafka-ca, mountPath: /etc/twilio-kafka/ca, readOnly: true}
{{- end }}
{{- if .client.secretName }}
- {name: kafka-client, mountPath: /etc/twilio-kafka/client, readOnly: true}
{{- end }}
{{- end }}{{ end }}
{{- end -}}

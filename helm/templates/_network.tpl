{{/* What the NetworkPolicy is made of. */}}

{{/* Whether there is one: as told, else where the chart knows the peers. */}}
{{- define "twilio-kafka.hasNetworkPolicy" -}}
{{- $told := .Values.networkPolicy.enabled -}}
{{- if kindIs "bool" $told }}{{ if $told }}true{{ end -}}
{{- else if not (include "twilio-kafka.unknownPeers" . | trim) }}true{{ end -}}
{{- end -}}

{{/* What the chart does not know of the peers, a line each. */}}
{{- define "twilio-kafka.unknownPeers" -}}
{{- with .Values.networkPolicy }}
{{- if not (or .egress.kafka.to $.Values.strimzi.cluster) }}
networkPolicy.egress.kafka.to: which peers the brokers are
{{- end }}
{{- if and (not .ingress.admin) (or $.Values.metrics.serviceMonitor.enabled $.Values.metrics.podMonitor.enabled) }}
networkPolicy.ingress.admin: where Prometheus scrapes from
{{- end }}
{{- end }}
{{- $names := list }}
{{- range .Values.workload.extraEnv }}{{ $names = append $names .name }}{{ end }}
{{- if or .Values.workload.extraEnvFrom (regexMatch "(?i)(_PROXY|OTEL_EXPORTER)" (join " " $names)) }}
{{- if not .Values.networkPolicy.egress.extra }}
networkPolicy.egress.extra: the proxy or collector that the environment names
{{- end }}
{{- end }}
{{- end -}}

{{/* Ports of the addresses in the configuration that may be anywhere, as JSON. */}}
{{- define "twilio-kafka.otherPorts" -}}
{{- $kafka := .Values.config.kafka -}}
{{- $urls := list ($kafka.schema_registry | default dict).url ($kafka.sasl | default dict).token_url -}}
{{- range .Values.config.connections -}}{{ $urls = concat $urls (list .api_url .monitor_url) (values (.product_urls | default dict)) }}{{ end -}}
{{- $ports := list -}}
{{- range $urls -}}
{{- if and (kindIs "string" .) (regexMatch "^https?://[^/$]+" .) -}}
{{- $authority := regexFind "^https?://[^/]+" . -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" | default (hasPrefix "https" . | ternary "443" "80") -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- end -}}
{{- /* doctor calls the public address, which is in the internet as Twilio is. */ -}}
{{- $public := regexFind ":[0-9]+(/|$)" (trimPrefix "https:" (toString .Values.config.callbacks.public_url)) | trimAll ":/" -}}
{{- if and $public (not (has $public (.Values.networkPolicy.egress.twilio.ports | toStrings))) -}}
{{- $ports = append $ports (int $public) -}}
{{- end -}}
{{- toJson ($ports | uniq) -}}
{{- end -}}

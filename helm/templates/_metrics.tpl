{{/* What monitors and rules are made of. */}}

{{/* What ServiceMonitor and PodMonitor have in common. The label `release` tells releases apart in one namespace. */}}
{{- define "twilio-kafka.scrape" -}}
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
{{- with .scheme }}
scheme: {{ . }}
{{- end }}
{{- with .tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  - {sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance], targetLabel: release, action: replace}
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What selects the series of this release in an expression, as between the braces of PromQL. */}}
{{- define "twilio-kafka.matchers" -}}
{{- $own := or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- $default := $own | ternary (dict "namespace" (include "twilio-kafka.namespace" .) "release" .Release.Name) (dict "namespace" (include "twilio-kafka.namespace" .)) -}}
{{- $matchers := list -}}
{{- range $label, $text := .Values.metrics.prometheusRule.matchers | default $default -}}
{{- $matchers = append $matchers (printf "%s=%q" $label (toString $text)) -}}
{{- end -}}
{{- join ", " $matchers -}}
{{- end -}}

{{/* An expression whose selectors of our series have these matchers as well. Of: expression, matchers. */}}
{{- define "twilio-kafka.narrowed" -}}
{{- $matchers := last . -}}
{{- $braced := regexReplaceAll "(twilio_kafka_[a-z_]+)\\{" (first .) (printf "${1}{%s, " $matchers) -}}
{{- regexReplaceAll "(twilio_kafka_[a-z_]+)([^a-z_{]|$)" $braced (printf "${1}{%s}${2}" $matchers) -}}
{{- end -}}

{{/* The roles of which there is always a process, separated by commas: not those that may be scaled to zero. */}}
{{- define "twilio-kafka.expectedRoles" -}}
{{- $expected := list -}}
{{- $workloads := include "twilio-kafka.workloads" . | fromYaml -}}
{{- range $role := splitList "," (include "twilio-kafka.roles" .) -}}
{{- $component := include "twilio-kafka.component" (dict "root" $ "role" $role) -}}
{{- $workload := get $workloads $component -}}
{{- $least := $workload.replicas -}}
{{- if $workload.autoscaling.cpu.enabled -}}{{ $least = $workload.autoscaling.cpu.minReplicas }}{{ end -}}
{{- if include "twilio-kafka.scalesByLag" (dict "root" $ "component" $component "workload" $workload) -}}
{{- $least = $workload.autoscaling.lag.minReplicas -}}
{{- end -}}
{{- if gt (int $least) 0 -}}{{ $expected = append $expected $role }}{{ end -}}
{{- end -}}
{{- join "," $expected -}}
{{- end -}}

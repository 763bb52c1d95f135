{{/* What a schema cannot say: values that contradict each other. Each check writes a sentence a line; all are told. */}}

{{- define "twilio-kafka.checks" -}}
{{- $found := list -}}
{{- range $check := list "config" "callbacks" "secrets" "tls" "workloads" "scaling" "metrics" "topics" -}}
{{- range splitList "\n" (include (printf "twilio-kafka.checks.%s" $check) $) -}}
{{- with trim . }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $found }}{{ fail (printf "\n  %s\n" (join "\n  " .)) }}{{ end -}}
{{- end -}}

{{- define "twilio-kafka.checks.config" -}}
{{- with .Values.config }}
{{- if or (hasPrefix "127." .admin.host) (has .admin.host (list "localhost" "::1" "[::1]")) }}
config.admin.host {{ .admin.host }} is loopback, where no probe and no Prometheus gets an answer: leave it at 0.0.0.0
{{- end }}
{{- if eq (int .admin.port) (int .callbacks.port) }}
config.admin.port {{ .admin.port }} is config.callbacks.port as well: choose another one
{{- end }}
{{- range $name, $port := dict "admin" .admin.port "callbacks" .callbacks.port }}
{{- if eq (int $port) 0 }}
config.{{ $name }}.port 0 is a different port in every pod: choose one
{{- end }}
{{- end }}
{{- if and (.kafka.sasl) (not (hasPrefix "SASL" .kafka.security_protocol)) }}
config.kafka.sasl is not used with security_protocol {{ .kafka.security_protocol }}: set that to SASL_SSL, or remove sasl
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.callbacks" -}}
{{- $url := .Values.config.callbacks.public_url | default "" }}
{{- $has := include "twilio-kafka.hasRole" (dict "root" . "role" "callbacks") }}
{{- if and $has (not $url) (ne (.Values.config.callbacks.verify_signatures | toString) "false") }}
config.callbacks.public_url is missing: signatures cover the address that Twilio calls; set it, or leave callbacks out of config.roles
{{- end }}
{{- range $part := list "ingress" "httpRoute" }}
{{- if (get $.Values $part).enabled }}
{{- if not $url }}
{{ $part }} is enabled without config.callbacks.public_url, which says what host to expose: set it
{{- else if not $has }}
{{ $part }} is enabled, but config.roles has no callbacks: add the role, or disable {{ $part }}
{{- end }}
{{- end }}
{{- end }}
{{- $path := trimSuffix "/" (urlParse $url).path }}
{{- if and .Values.ingress.enabled $path (not .Values.ingress.path) }}
config.callbacks.public_url has the path {{ $path }}, which an Ingress cannot take away: set ingress.path and your controller's rewrite annotation, or use httpRoute
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute.parentRefs is empty: name the gateway that serves the host
{{- end }}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") }}
service.nodePort {{ .Values.service.nodePort }} needs service.type NodePort or LoadBalancer
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.secrets" -}}
{{- $secrets := .Values.secrets }}
{{- $variables := include "twilio-kafka.variables" . | fromYaml }}
{{- range $name, $connection := .Values.config.connections }}
{{- range $key := list "auth_token" "additional_auth_tokens" "shared_keys" "api_secret" }}
{{- include "twilio-kafka.checks.plainSecret" (list (printf "config.connections.%s.%s" $name $key) (get $connection $key)) }}
{{- end }}
{{- end }}
{{- include "twilio-kafka.checks.plainSecret" (list "config.admin.token" .Values.config.admin.token) }}
{{- include "twilio-kafka.checks.plainSecret" (list "config.kafka.sasl.password" (.Values.config.kafka.sasl | default dict).password) }}
{{- include "twilio-kafka.checks.plainSecret" (list "config.kafka.tls.key_password" (.Values.config.kafka.tls | default dict).key_password) }}
{{- include "twilio-kafka.checks.plainSecret" (list "config.kafka.schema_registry.password" (.Values.config.kafka.schema_registry | default dict).password) }}
{{- if not (or (hasKey $variables "CONNECTOR_ADMIN__TOKEN") .Values.config.admin.token) }}
secrets.variables has no CONNECTOR_ADMIN__TOKEN: the console can be reached by others in the cluster, so it needs a token
{{- end }}
{{- range $variable, $_ := $secrets.variables }}
{{- if hasSuffix "_FILE" $variable }}
secrets.variables.{{ $variable }} ends with _FILE, which the chart adds: name the variable without it
{{- end }}
{{- end }}
{{- if and $secrets.create.enabled $secrets.externalSecret.enabled }}
secrets.create and secrets.externalSecret are both enabled: each makes the Secret, so choose one
{{- end }}
{{- if $secrets.create.enabled }}
{{- range $variable, $key := $variables }}
{{- if not (get $secrets.create.values $key) }}
secrets.create.values has no {{ $key }}, which secrets.variables names for {{ $variable }}: give it, or set secrets.variables.{{ $variable }} to null
{{- end }}
{{- end }}
{{- end }}
{{- with $secrets.externalSecret }}{{ if .enabled }}
{{- if not .store.name }}
secrets.externalSecret.store.name is missing: name the SecretStore or ClusterSecretStore
{{- end }}
{{- if not (or .remoteKey .data) }}
secrets.externalSecret.remoteKey is missing: name the remote secret, or list data
{{- end }}
{{- end }}{{ end }}
{{- end -}}

{{/* Of: path, value. A reference to the environment is fine. */}}
{{- define "twilio-kafka.checks.plainSecret" -}}
{{- if and (last .) (not (contains "${" (last . | toJson))) }}
{{ first . }} would stand in a ConfigMap: put it into the Secret and name its variable and key under secrets.variables
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.tls" -}}
{{- with .Values.kafkaTls }}{{ if .enabled }}
{{- if not (hasSuffix "SSL" $.Values.config.kafka.security_protocol) }}
kafkaTls is enabled, but config.kafka.security_protocol {{ $.Values.config.kafka.security_protocol }} does not use TLS: set SSL or SASL_SSL
{{- end }}
{{- if not (or .ca.secretName .client.secretName) }}
kafkaTls is enabled without a Secret: set kafkaTls.ca.secretName, kafkaTls.client.secretName or both
{{- end }}
{{- end }}{{ end }}
{{- end -}}

{{- define "twilio-kafka.checks.workloads" -}}
{{- range $role := list "watch" "callbacks" "commands" }}
{{- if get $.Values.perRole $role }}
{{- if not $.Values.perRole.enabled }}
perRole.{{ $role }} is set, but perRole.enabled is false: enable it, or set workload instead
{{- else if not (include "twilio-kafka.hasRole" (dict "root" $ "role" $role)) }}
perRole.{{ $role }} is set, but the roles are {{ include "twilio-kafka.roles" $ | replace "," " and " }}: add the role, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- range $component, $workload := include "twilio-kafka.workloads" . | fromYaml }}
{{- $grace := include "twilio-kafka.terminationGrace" (dict "root" $ "workload" $workload) | int }}
{{- $drain := include "twilio-kafka.seconds" $.Values.config.shutdown_grace | int }}
{{- $least := add $workload.preStopSeconds $drain | int }}
{{- if lt $grace $least }}
terminationGracePeriodSeconds {{ $grace }} of {{ $component }} is less than preStopSeconds {{ $workload.preStopSeconds }} and config.shutdown_grace {{ $.Values.config.shutdown_grace }} together, so that it would be killed while it drains: set at least {{ $least }}
{{- end }}
{{- with $workload.podDisruptionBudget }}
{{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) }}
podDisruptionBudget of {{ $component }} is enabled without minAvailable and maxUnavailable: set one
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.scaling" -}}
{{- $partitions := int .Values.config.kafka.partitions }}
{{- range $component, $workload := include "twilio-kafka.workloads" . | fromYaml }}
{{- $cpu := $workload.autoscaling.cpu }}
{{- $lag := $workload.autoscaling.lag }}
{{- $scales := include "twilio-kafka.scalesByLag" (dict "root" $ "component" $component "workload" $workload) }}
{{- if and $cpu.enabled $scales }}
autoscaling.cpu and autoscaling.lag of {{ $component }} are both enabled: they would fight over one Deployment, so choose one
{{- end }}
{{- if and $cpu.enabled (gt (int $cpu.minReplicas) (int $cpu.maxReplicas)) }}
autoscaling.cpu.minReplicas {{ $cpu.minReplicas }} of {{ $component }} is more than maxReplicas {{ $cpu.maxReplicas }}
{{- end }}
{{- if and $cpu.enabled (not (($workload.resources | default dict).requests | default dict).cpu) }}
autoscaling.cpu of {{ $component }} needs resources.requests.cpu, which it is a percentage of
{{- end }}
{{- if $scales }}
{{- if gt (int $lag.minReplicas) (int $lag.maxReplicas) }}
autoscaling.lag.minReplicas {{ $lag.minReplicas }} of {{ $component }} is more than maxReplicas {{ $lag.maxReplicas }}
{{- end }}
{{- if gt (int $lag.maxReplicas) $partitions }}
autoscaling.lag.maxReplicas {{ $lag.maxReplicas }} of {{ $component }} is more than config.kafka.partitions {{ $partitions }}: the others would own nothing
{{- end }}
{{- if and (eq (int $lag.minReplicas) 0) (eq $component "connector") }}
autoscaling.lag.minReplicas 0 would end watches and callbacks as well: use perRole.commands, or set at least 1
{{- end }}
{{- include "twilio-kafka.checks.scalingAccess" $ }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether KEDA can reach the broker. */}}
{{- define "twilio-kafka.checks.scalingAccess" -}}
{{- $workload := .Values.perRole.enabled | ternary (mergeOverwrite (deepCopy .Values.workload) .Values.perRole.commands) .Values.workload }}
{{- $variables := include "twilio-kafka.variables" . | fromYaml }}
{{- if and (hasPrefix "SASL" .Values.config.kafka.security_protocol) (not $workload.autoscaling.lag.authenticationRef) }}
{{- if not (include "twilio-kafka.kedaSasl" .) }}
autoscaling.lag cannot make KEDA's authentication for this config.kafka.sasl.mechanism: set autoscaling.lag.authenticationRef
{{- else if not (and (hasKey $variables "CONNECTOR_KAFKA__SASL__USERNAME") (hasKey $variables "CONNECTOR_KAFKA__SASL__PASSWORD")) }}
autoscaling.lag needs CONNECTOR_KAFKA__SASL__USERNAME and CONNECTOR_KAFKA__SASL__PASSWORD under secrets.variables, or autoscaling.lag.authenticationRef
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.metrics" -}}
{{- with .Values.metrics }}
{{- if and .serviceMonitor.enabled .podMonitor.enabled }}
metrics.serviceMonitor and metrics.podMonitor are both enabled: every pod would be scraped twice, so choose one
{{- end }}
{{- if and .serviceMonitor.enabled (not $.Values.adminService.enabled) }}
metrics.serviceMonitor needs adminService.enabled: enable it, or use metrics.podMonitor
{{- end }}
{{- $known := list }}
{{- range ($.Files.Get "files/alerts.yaml" | fromYaml).groups }}{{ range .rules }}{{ $known = append $known .alert }}{{ end }}{{ end }}
{{- range .prometheusRule.disabled }}
{{- if not (has . $known) }}
metrics.prometheusRule.disabled names {{ . }}, which is no alert: {{ join ", " $known }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.topics" -}}
{{- $topics := .Files.Get "files/topics.yaml" | fromYaml }}
{{- with .Values.strimzi }}
{{- if and (or .topics.enabled .user.enabled) (not .cluster) }}
strimzi.cluster is missing: name the Kafka resource that topics and user belong to
{{- end }}
{{- if and .topics.enabled $.Values.topicsJob.enabled }}
strimzi.topics and topicsJob are both enabled: each makes the topics, so choose one
{{- end }}
{{- range $name, $_ := .topics.configByTopic }}
{{- if not (hasKey $topics $name) }}
strimzi.topics.configByTopic names {{ $name }}, which is no topic: write it without the prefix, such as messages
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.topicsJob }}
{{- if and .enabled (not .secretName) $.Values.secrets.externalSecret.enabled (include "twilio-kafka.kafkaVariables" $ | fromYaml) }}
topicsJob runs before the ExternalSecret has made the Secret: set topicsJob.secretName to an existing one, or use strimzi.topics
{{- end }}
{{- end }}
{{- range $component, $workload := include "twilio-kafka.workloads" . | fromYaml }}
{{- range $workload.autoscaling.lag.commands }}
{{- if not (hasKey $topics (printf "commands.%s" .)) }}
autoscaling.lag.commands of {{ $component }} names {{ . }}, which is no command
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

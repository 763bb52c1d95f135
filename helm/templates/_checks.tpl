{{/* What a schema cannot say: values that contradict each other. Each check writes a sentence a line; all are told. */}}

{{- define "twilio-kafka.checks" -}}
{{- $found := list -}}
{{- /* The others compare what these make sure to be there. */}}
{{- range $check := list "known" "names" -}}
{{- range splitList "\n" (include (printf "twilio-kafka.checks.%s" $check) $) -}}
{{- with trim . }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $found }}{{ fail (printf "\n  %s\n" (join "\n  " .)) }}{{ end -}}
{{- range $check := list "config" "callbacks" "services" "secrets" "tls" "workloads" "pods" "scaling" "metrics" "topics" -}}
{{- range splitList "\n" (include (printf "twilio-kafka.checks.%s" $check) $) -}}
{{- with trim . }}{{ $found = append $found . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $found }}{{ fail (printf "\n  %s\n" (join "\n  " .)) }}{{ end -}}
{{- end -}}

{{/* What the chart needs of the configuration must be known to it, and not only to the pod. */}}
{{- define "twilio-kafka.checks.known" -}}
{{- $config := .Values.config }}
{{- $asks := list
  (list "config.roles" $config.roles "which Deployments and Services there are")
  (list "config.admin.host" $config.admin.host "whether probes reach it")
  (list "config.admin.port" $config.admin.port "Services and probes")
}}
{{- if not (contains "${" (toString $config.roles)) }}
{{- if include "twilio-kafka.hasRole" (dict "root" . "role" "callbacks") }}
{{- $asks = append $asks (list "config.callbacks.port" $config.callbacks.port "the Service") }}
{{- end }}
{{- if or (and .Values.ingress.enabled (not .Values.ingress.host)) (and .Values.httpRoute.enabled (not .Values.httpRoute.hostnames)) }}
{{- $asks = append $asks (list "config.callbacks.public_url" $config.callbacks.public_url "the host that is exposed") }}
{{- end }}
{{- $graceful := true }}
{{- range $component, $workload := include "twilio-kafka.workloads" . | fromYaml }}
{{- if not $workload.terminationGracePeriodSeconds }}{{ $graceful = false }}{{ end }}
{{- if include "twilio-kafka.scalesByLag" (dict "root" $ "component" $component "workload" $workload) }}
{{- $asks = concat $asks (list
  (list "config.kafka.bootstrap_servers" $config.kafka.bootstrap_servers "KEDA")
  (list "config.kafka.topic_prefix" $config.kafka.topic_prefix "KEDA")
  (list "config.kafka.partitions" $config.kafka.partitions "the most replicas of KEDA")
  (list "config.kafka.security_protocol" $config.kafka.security_protocol "KEDA")
) }}
{{- end }}
{{- end }}
{{- if not $graceful }}
{{- $asks = append $asks (list "config.shutdown_grace" $config.shutdown_grace "terminationGracePeriodSeconds, unless that is set") }}
{{- end }}
{{- end }}
{{- if .Values.strimzi.topics.enabled }}
{{- $asks = concat $asks (list
  (list "config.kafka.partitions" $config.kafka.partitions "the KafkaTopics")
  (list "config.kafka.replication_factor" $config.kafka.replication_factor "the KafkaTopics")
) }}
{{- end }}
{{- if or .Values.strimzi.topics.enabled .Values.strimzi.user.enabled }}
{{- $asks = append $asks (list "config.kafka.topic_prefix" $config.kafka.topic_prefix "the resources of Strimzi") }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress.kafka.ports) (not .Values.strimzi.cluster) }}
{{- $asks = append $asks (list "config.kafka.bootstrap_servers" $config.kafka.bootstrap_servers "the ports that the NetworkPolicy opens") }}
{{- end }}
{{- if .Values.kafkaTls.enabled }}
{{- $asks = append $asks (list "config.kafka.security_protocol" $config.kafka.security_protocol "whether certificates are used") }}
{{- end }}
{{- range $asks | uniq }}
{{- if contains "${" (toString (index . 1)) }}
{{ index . 0 }} is {{ index . 1 }}, which only the pod knows, and the chart needs it for {{ index . 2 }}: write the value, or set the variable in workload.extraEnv
{{- end }}
{{- end }}
{{- range $name, $port := dict "config.admin.port" $config.admin.port "config.callbacks.port" $config.callbacks.port }}
{{- if not (or (contains "${" (toString $port)) (regexMatch "^[0-9]{1,5}$" (toString $port))) }}
{{ $name }} {{ $port }} is not a port: write a number from 1 to 65535
{{- else if and (not (contains "${" (toString $port))) (gt (int $port) 65535) }}
{{ $name }} {{ $port }} is not a port: write a number from 1 to 65535
{{- end }}
{{- end }}
{{- range splitList "," (toString ($config.roles | default list | join ",") | nospace) }}
{{- if and . (not (contains "${" .)) (not (has . (list "watch" "callbacks" "commands"))) }}
config.roles has {{ . }}, which is not a role: write watch, callbacks or commands
{{- end }}
{{- end }}
{{- end -}}

{{/* Names that Kubernetes would refuse. */}}
{{- define "twilio-kafka.checks.names" -}}
{{- $full := include "twilio-kafka.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{ empty .Values.fullnameOverride | ternary "nameOverride" "fullnameOverride" }} makes the name {{ $full }}, which cannot name a Service: use lower-case letters, digits and hyphens, and begin with a letter
{{- end }}
{{- if not (regexMatch "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" (include "twilio-kafka.name" .)) }}
nameOverride {{ .Values.nameOverride }} cannot be the value of a label: use letters, digits, hyphens, underscores and dots between letters or digits
{{- end }}
{{- if or .Values.strimzi.topics.enabled .Values.strimzi.user.enabled }}
{{- if not (regexMatch "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$" (toString .Values.config.kafka.topic_prefix)) }}
config.kafka.topic_prefix {{ .Values.config.kafka.topic_prefix }} cannot begin the name of a KafkaTopic: use letters, digits, hyphens and dots between letters or digits
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.checks.config" -}}
{{- with .Values.config }}
{{- if or (hasPrefix "127." (toString .admin.host)) (has (toString .admin.host) (list "localhost" "::1" "[::1]")) }}
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
{{- $protocol := toString .kafka.security_protocol }}
{{- if and (.kafka.sasl) (not (hasPrefix "SASL" $protocol)) (not (contains "${" $protocol)) }}
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

{{- define "twilio-kafka.checks.services" -}}
{{- with .Values.service }}
{{- if ne .type "LoadBalancer" }}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if get $.Values.service $key }}
service.{{ $key }} is set, but service.type is {{ $.Values.service.type }}: set LoadBalancer, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- if and .externalTrafficPolicy (eq .type "ClusterIP") }}
service.externalTrafficPolicy is set, but service.type is ClusterIP: set NodePort or LoadBalancer, or remove it
{{- end }}
{{- if and (gt (len (.ipFamilies | default list)) 1) (has (.ipFamilyPolicy | default "") (list "" "SingleStack")) }}
service.ipFamilies has two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack
{{- end }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- $host := .Values.ingress.host | default (include "twilio-kafka.publicHost" .) }}
{{- if and $host (not (include "twilio-kafka.isHostName" $host)) }}
{{ empty .Values.ingress.host | ternary "config.callbacks.public_url" "ingress.host" }} has the host {{ $host }}, which an Ingress cannot expose: it needs a name of the DNS; set ingress.host
{{- end }}
{{- if has ($host | default "") (.Values.ingress.extraHosts | default list) }}
ingress.extraHosts has {{ $host }}, which is exposed already: remove it
{{- end }}
{{- $path := .Values.ingress.path | default "/callbacks" }}
{{- if and (ne .Values.ingress.pathType "ImplementationSpecific") (regexMatch "//|/\\.\\.?(/|$)|%2[fF]" $path) }}
ingress.path {{ $path }} is not a plain path: leave out //, /./, /../ and %2F, or set ingress.pathType to ImplementationSpecific
{{- end }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.hostnames) }}
{{- $host := include "twilio-kafka.publicHost" . }}
{{- if and $host (not (include "twilio-kafka.isHostName" $host)) }}
config.callbacks.public_url has the host {{ $host }}, which an HTTPRoute cannot expose: it needs a name of the DNS; set httpRoute.hostnames
{{- end }}
{{- end }}
{{- end -}}

{{- define "twilio-kafka.isHostName" -}}
{{- if and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" (trimPrefix "*." .)) (not (regexMatch "^[0-9.]+$" .)) (le (len .) 253) }}true{{ end -}}
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
{{- if and .client.secretName (eq .client.certKey .client.keyKey) }}
kafkaTls.client.certKey and keyKey are both {{ .client.certKey }}: name the key of the certificate and that of its key
{{- end }}
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
{{- $update := $workload.strategy.rollingUpdate | default dict }}
{{- if and (ne $workload.strategy.type "Recreate") (include "twilio-kafka.isNone" $update.maxSurge) (include "twilio-kafka.isNone" $update.maxUnavailable) }}
strategy.rollingUpdate of {{ $component }} has maxSurge {{ $update.maxSurge }} and maxUnavailable {{ $update.maxUnavailable }}, so that no pod could ever be replaced: raise one of them
{{- end }}
{{- range $name, $limit := ($workload.resources | default dict).limits | default dict }}
{{- $request := get (($workload.resources | default dict).requests | default dict) $name }}
{{- if and (not (kindIs "invalid" $request)) (ne (toString $request) "") (gt (include "twilio-kafka.amount" $request | float64) (include "twilio-kafka.amount" $limit | float64)) }}
resources of {{ $component }} request {{ $request }} of {{ $name }}, more than its limit {{ $limit }}: lower the request or raise the limit
{{- end }}
{{- end }}
{{- with $workload.podDisruptionBudget }}
{{- if and .enabled (kindIs "invalid" .minAvailable) (kindIs "invalid" .maxUnavailable) }}
podDisruptionBudget of {{ $component }} is enabled without minAvailable and maxUnavailable: set one
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What is unique in a pod, over what the chart sets and what the values add. */}}
{{- define "twilio-kafka.checks.pods" -}}
{{- $variables := include "twilio-kafka.variables" . | fromYaml }}
{{- $mounts := include "twilio-kafka.mounts" (dict "root" . "variables" $variables) | fromYamlArray }}
{{- range $component, $workload := include "twilio-kafka.workloads" . | fromYaml }}
{{- $role := $.Values.perRole.enabled | ternary $component "" }}
{{- $env := include "twilio-kafka.env" (dict "variables" $variables "role" $role) | fromYamlArray }}
{{- $of := printf "of %s" $component }}
{{- include "twilio-kafka.checks.twice" (list (printf "extraEnv %s" $of) "variable" "name" $env $workload.extraEnv) }}
{{- include "twilio-kafka.checks.twice" (list (printf "extraVolumeMounts %s" $of) "mountPath" "mountPath" $mounts $workload.extraVolumeMounts) }}
{{- $volumes := list (dict "name" "config") (dict "name" "secrets") (dict "name" "tmp") (dict "name" "kafka-ca") (dict "name" "kafka-client") }}
{{- include "twilio-kafka.checks.twice" (list (printf "extraVolumes %s" $of) "volume" "name" $volumes $workload.extraVolumes) }}
{{- $containers := list (dict "name" "connector") (dict "name" "config-check") }}
{{- include "twilio-kafka.checks.twice" (list (printf "extraContainers and extraInitContainers %s" $of) "container" "name" $containers (concat ($workload.extraContainers | default list) ($workload.extraInitContainers | default list))) }}
{{- $names := list }}
{{- range concat $volumes ($workload.extraVolumes | default list) }}{{ $names = append $names .name }}{{ end }}
{{- range $workload.extraVolumeMounts }}
{{- if not (has .name $names) }}
extraVolumeMounts of {{ $component }} name the volume {{ .name }}, which is not there: add it to extraVolumes
{{- end }}
{{- end }}
{{- $seen := list }}
{{- if $workload.topologySpread.enabled }}
{{- range $workload.topologySpread.constraints }}
{{- $pair := printf "%s with %s" .topologyKey .whenUnsatisfiable }}
{{- if has $pair $seen }}
topologySpread.constraints of {{ $component }} has {{ $pair }} twice: remove one
{{- end }}
{{- $seen = append $seen $pair }}
{{- end }}
{{- end }}
{{- if and (eq ($workload.dnsPolicy | default "") "None") (not ($workload.dnsConfig | default dict).nameservers) }}
dnsPolicy None of {{ $component }} needs dnsConfig.nameservers: name at least one
{{- end }}
{{- end }}
{{- include "twilio-kafka.checks.twice" (list "topicsJob.extraEnv" "variable" "name" (include "twilio-kafka.env" (dict "variables" $variables) | fromYamlArray) .Values.topicsJob.extraEnv) }}
{{- end -}}

{{/* Of: where, what, key, those of the chart, those of the values. */}}
{{- define "twilio-kafka.checks.twice" -}}
{{- $key := index . 2 }}
{{- $seen := list }}
{{- range index . 3 }}{{ $seen = append $seen (get . $key) }}{{ end }}
{{- $own := $seen }}
{{- range index . 4 }}
{{- $name := get . $key }}
{{- if has $name $own }}
{{ index $ 0 }} has the {{ index $ 1 }} {{ $name }}, which the chart sets itself: remove it
{{- else if has $name $seen }}
{{ index $ 0 }} has the {{ index $ 1 }} {{ $name }} twice: remove one
{{- end }}
{{- $seen = append $seen $name }}
{{- end }}
{{- end -}}

{{/* Whether a number or percentage is none. */}}
{{- define "twilio-kafka.isNone" -}}
{{- if and (not (kindIs "invalid" .)) (regexMatch "^0+%?$" (toString .)) }}true{{ end -}}
{{- end -}}

{{/* A quantity of Kubernetes as a number. */}}
{{- define "twilio-kafka.amount" -}}
{{- $units := dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- $text := toString . -}}
{{- $unit := regexFind "(m|[kMGTPE]i?|Ki)$" $text -}}
{{- mulf (float64 (trimSuffix $unit $text)) (get $units $unit | default 1.0) -}}
{{- end -}}

{{- define "twilio-kafka.checks.scaling" -}}
{{- $partitions := int (toString .Values.config.kafka.partitions) }}
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
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- $monitor := get $.Values.metrics $name }}
{{- if and $monitor.enabled (lt (include "twilio-kafka.seconds" $monitor.interval | int) (include "twilio-kafka.seconds" $monitor.scrapeTimeout | int)) }}
metrics.{{ $name }}.scrapeTimeout {{ $monitor.scrapeTimeout }} is longer than its interval {{ $monitor.interval }}: shorten it
{{- end }}
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
{{- if .topics.enabled }}
{{- $replicas := int (toString $.Values.config.kafka.replication_factor) }}
{{- $all := dict "topics.config" .topics.config }}
{{- range $name, $settings := .topics.configByTopic }}{{ $_ := set $all (printf "topics.configByTopic.%s" $name) $settings }}{{ end }}
{{- range $where, $settings := $all }}
{{- $least := get ($settings | default dict) "min.insync.replicas" }}
{{- if gt (int (toString $least)) $replicas }}
strimzi.{{ $where }} has min.insync.replicas {{ $least }}, more than config.kafka.replication_factor {{ $replicas }}, so that nothing could be written: set at most {{ $replicas }}, or more replicas
{{- end }}
{{- end }}
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

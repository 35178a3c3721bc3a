{{/* Everything that is wrong, a line each; empty when all is well. Takes the root. */}}
{{- define "igbot.problems" -}}
{{- $values := .Values -}}
{{- if not $values.publicUrl }}
publicUrl is required: where Meta reaches the gateway, for example https://dm.example.com
{{- else if not (or (hasPrefix "https://" $values.publicUrl) $values.secrets.create) }}
publicUrl must be https: Meta delivers to nothing else
{{- end }}
{{- range $concern := list "meta" "gateway" "tokens" "model" "mongodb" "redis" }}
{{- $secret := get $values.secrets $concern }}
{{- if and (not $secret.existingSecret) (not $values.secrets.create) }}
secrets.{{ $concern }}.existingSecret is required{{ with $secret.keys }} (a Secret with {{ values . | sortAlpha | join ", " }}){{ end }}
{{- else if and (not $secret.existingSecret) (not $secret.values) }}
secrets.{{ $concern }}.values is required with secrets.create
{{- end }}
{{- end }}
{{- if and (or $values.config.tokens.accountAlertUrl $values.config.responder.handoverUrl) (not (include "igbot.secretName" (dict "root" . "concern" "alerts"))) }}
secrets.alerts.existingSecret is required with config.tokens.accountAlertUrl or config.responder.handoverUrl
{{- end }}
{{- if $values.grpcTls.enabled }}
{{- range $name := list "gateway" "tokens" "responder" }}
{{- if not (get $values.grpcTls $name).existingSecret }}
grpcTls.{{ $name }}.existingSecret is required with grpcTls.enabled
{{- end }}
{{- end }}
{{- if and $values.tests.enabled (not $values.grpcTls.operator.existingSecret) }}
grpcTls.operator.existingSecret is required with grpcTls.enabled (or set tests.enabled=false)
{{- end }}
{{- end }}
{{- if and $values.ingress.enabled $values.httpRoute.enabled }}
ingress.enabled and httpRoute.enabled: set one of them, not both
{{- end }}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) }}
httpRoute.parentRefs is required with httpRoute.enabled
{{- end }}
{{- if and $values.responder.keda.enabled (not $values.responder.keda.serverAddress) }}
responder.keda.serverAddress is required with responder.keda.enabled
{{- end }}
{{- range $name := list "gateway" "tokens" "responder" }}
{{- include "igbot.componentProblems" (dict "name" $name "c" (include "igbot.component" (dict "root" $ "component" $name) | fromYaml)) }}
{{- end }}
{{- end -}}

{{- define "igbot.componentProblems" -}}
{{- $c := .c }}
{{- if and $c.autoscaling.enabled (dig "keda" "enabled" false $c) }}
{{ .name }}.autoscaling.enabled and {{ .name }}.keda.enabled: set one of them, not both
{{- end }}
{{- if and $c.autoscaling.enabled (gt (int $c.autoscaling.minReplicas) (int $c.autoscaling.maxReplicas)) }}
{{ .name }}.autoscaling.minReplicas is more than maxReplicas
{{- end }}
{{- $need := addf $c.preStopSleepSeconds $c.drainSeconds 5 }}
{{- if lt (float64 $c.terminationGracePeriodSeconds) $need }}
{{ .name }}.terminationGracePeriodSeconds={{ $c.terminationGracePeriodSeconds }}: preStopSleepSeconds + drainSeconds + 5 s of slack need {{ $need }}
{{- end }}
{{- end -}}

{{/* Which secret each service gets, and nothing else: variable -> concern and key. Take (dict "root" $ "component" …). */}}
{{- define "igbot.secretVariables" -}}
{{- if eq .component "gateway" -}}
INSTAGRAM_CLIENT_ID: [meta, clientId]
APP_SECRET: [meta, appSecret]
WEBHOOK_VERIFY_TOKEN: [meta, verifyToken]
OPERATOR_PASSWORD: [gateway, operatorPassword]
REDIS_URL: [redis, url]
{{- else if eq .component "tokens" -}}
INSTAGRAM_CLIENT_ID: [meta, clientId]
INSTAGRAM_CLIENT_SECRET: [meta, clientSecret]
DATABASE_URL: [mongodb, uri]
{{- if include "igbot.secretName" (dict "root" .root "concern" "alerts") }}
ALERT_SECRET: [alerts, secret]
{{- end }}
{{- else if eq .component "responder" -}}
DATABASE_URL: [mongodb, uri]
OPENAI_API_KEY: [model, apiKey]
{{- if include "igbot.secretName" (dict "root" .root "concern" "alerts") }}
ALERT_SECRET: [alerts, secret]
{{- end }}
{{- else if eq .component "smoke" -}}
APP_SECRET: [meta, appSecret]
{{- end -}}
{{- end -}}

{{- define "igbot.secretEnv" -}}
{{- $root := .root -}}
{{- range $variable, $from := include "igbot.secretVariables" . | fromYaml }}
{{- $concern := index $from 0 }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ include "igbot.secretName" (dict "root" $root "concern" $concern) }}
      key: {{ get (get $root.Values.secrets $concern).keys (index $from 1) }}
{{- end }}
{{- end -}}

{{/* The addresses that services know each other by. gRPC asks DNS for every pod behind a headless name. */}}
{{- define "igbot.address" -}}
{{ include "igbot.componentName" . }}.{{ .root.Release.Namespace }}.svc:{{ (get .root.Values .component).ports.grpc }}
{{- end -}}

{{/* Variables that follow from the chart itself. */}}
{{- define "igbot.derivedVariables" -}}
{{- $values := .root.Values -}}
{{- $c := include "igbot.component" . | fromYaml -}}
OPS_ADDRESS: "[::]:{{ int $c.ports.metrics }}"
DRAIN_SECONDS: {{ $c.drainSeconds | quote }}
{{- if $values.grpcTls.enabled }}
GRPC_TLS_DIR: /etc/igbot/grpc-tls
{{- end }}
{{- if eq .component "gateway" }}
LISTEN_ADDRESS: "[::]:{{ int $c.ports.http }}"
PUBLIC_URL: {{ $values.publicUrl | quote }}
{{- if eq (toString $values.config.gateway.trustProxy) "auto" }}
TRUST_PROXY: {{ or $values.ingress.enabled $values.httpRoute.enabled | quote }}
{{- end }}
{{- if not $values.config.gateway.redisPrefix }}
REDIS_PREFIX: {{ printf "%s:%s:" .root.Release.Namespace (include "igbot.fullname" .root) | quote }}
{{- end }}
{{- else }}
LISTEN_ADDRESS: "[::]:{{ int $c.ports.grpc }}"
{{- end }}
{{- if ne .component "responder" }}
REDIRECT_URI: {{ printf "%s/oauth/callback" $values.publicUrl | quote }}
{{- end }}
{{- if ne .component "tokens" }}
TOKENS_ADDRESS: {{ include "igbot.address" (dict "root" .root "component" "tokens") | quote }}
{{- end }}
{{- if eq .component "gateway" }}
RESPONDER_ADDRESS: {{ include "igbot.address" (dict "root" .root "component" "responder") | quote }}
{{- end }}
{{- if eq .component "tokens" }}
TOKEN_KEYS_DIR: /etc/igbot/token-keys
{{- end }}
{{- if and (eq .component "responder") $values.systemPrompt }}
SYSTEM_PROMPT_FILE: /etc/igbot/prompt/system.txt
{{- end }}
{{- end -}}

{{/* quietSeconds becomes QUIET_SECONDS. Whole numbers come out of YAML as floats, and large ones would print as 1e+06. */}}
{{- define "igbot.settingVariables" -}}
{{- $config := .root.Values.config -}}
{{- $settings := mergeOverwrite (dict) (deepCopy $config.common) (deepCopy (get $config .component)) -}}
{{- if ne .component "gateway" -}}{{- $settings = mergeOverwrite $settings (deepCopy $config.graph) -}}{{- end -}}
{{- range $key, $value := $settings }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
{{- if and (ne (toString $value) "") (not (and (eq $key "trustProxy") (eq (toString $value) "auto"))) }}
{{ $key | snakecase | upper }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The data of a service's ConfigMap. */}}
{{- define "igbot.configData" -}}
{{- $derived := include "igbot.derivedVariables" . | fromYaml -}}
{{- $settings := include "igbot.settingVariables" . | fromYaml -}}
{{- mergeOverwrite $derived $settings | toYaml -}}
{{- end -}}

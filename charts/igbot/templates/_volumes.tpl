{{/* What each service finds in files. Rows of one table, so that a volume and its mount cannot disagree. */}}
{{- define "igbot.mounts" -}}
{{- $values := .root.Values -}}
{{- if and $values.grpcTls.enabled (ne .component "smoke") }}
- {name: grpc-tls, path: /etc/igbot/grpc-tls, secret: {{ (get $values.grpcTls .component).existingSecret | quote }}}
{{- else if $values.grpcTls.enabled }}
- {name: grpc-tls, path: /etc/igbot/grpc-tls, secret: {{ $values.grpcTls.operator.existingSecret | quote }}}
{{- end }}
{{- if eq .component "tokens" }}
- {name: token-keys, path: /etc/igbot/token-keys, secret: {{ include "igbot.secretName" (dict "root" .root "concern" "tokens") | quote }}}
{{- end }}
{{- if and (has .component (list "tokens" "responder")) $values.secrets.mongodb.caSecret }}
- {name: mongodb-ca, path: /etc/igbot/mongodb-ca, secret: {{ $values.secrets.mongodb.caSecret | quote }}}
{{- end }}
{{- if and (eq .component "gateway") $values.secrets.redis.caSecret }}
- {name: redis-ca, path: /etc/igbot/redis-ca, secret: {{ $values.secrets.redis.caSecret | quote }}}
{{- end }}
{{- if and (eq .component "responder") $values.systemPrompt }}
- {name: prompt, path: /etc/igbot/prompt, configMap: {{ include "igbot.componentName" . }}-prompt}
{{- end }}
{{- end -}}

{{/* Whole folders, never subPath: a rotated key or certificate then appears without a restart. */}}
{{- define "igbot.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .tmpSizeLimit }}}
{{- range include "igbot.mounts" . | fromYamlArray }}
- name: {{ .name }}
  {{- if .secret }}
  secret: {secretName: {{ .secret }}}
  {{- else }}
  configMap: {name: {{ .configMap }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "igbot.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- range include "igbot.mounts" . | fromYamlArray }}
- {name: {{ .name }}, mountPath: {{ .path }}, readOnly: true}
{{- end }}
{{- end -}}

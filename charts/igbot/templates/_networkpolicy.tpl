{{/* Who may speak with whom. All take (dict "root" $ "component" "tokens"). */}}
{{- define "igbot.networkPolicy" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- if $policy.enabled -}}
{{- $c := include "igbot.component" . | fromYaml -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "igbot.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if eq .component "gateway" }}
    {{- /* Without ingressFrom: everyone. Meta has no fixed addresses; the signature decides. */}}
    - ports: [{port: http, protocol: TCP}]
      {{- with $policy.ingressFrom }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- include "igbot.peers" (dict "root" $.root "components" (list "smoke" "operator")) | nindent 8 }}
      {{- end }}
    {{- else }}
    - from:
        {{- $callers := eq .component "tokens" | ternary (list "gateway" "responder") (list "gateway") }}
        {{- include "igbot.peers" (dict "root" .root "components" (concat $callers (list "smoke" "operator"))) | nindent 8 }}
      ports: [{port: grpc, protocol: TCP}]
    {{- end }}
    {{- with $policy.metricsFrom }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports: [{port: http-metrics, protocol: TCP}]
    {{- end }}
    - from:
        {{- include "igbot.peers" (dict "root" .root "components" (list "smoke" "operator")) | nindent 8 }}
      ports: [{port: http-metrics, protocol: TCP}]
  egress:
    {{- include "igbot.egress" . | trim | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* Pods of this release, by component; with "root" and "components". */}}
{{- define "igbot.peers" -}}
{{- range .components }}
- podSelector:
    matchLabels:
      {{- include "igbot.selectorLabels" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "igbot.egress" -}}
{{- $root := .root -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- include "igbot.egressDns" $root }}
{{- if ne .component "tokens" }}
{{ include "igbot.egressToComponent" (dict "root" $root "component" "tokens") }}
{{- end }}
{{- if eq .component "gateway" }}
{{ include "igbot.egressToComponent" (dict "root" $root "component" "responder") }}
{{ include "igbot.egressTo" (dict "to" $policy.redisTo "ports" $policy.redisPorts) }}
{{- else }}
{{ include "igbot.egressTo" (dict "to" $policy.mongodbTo "ports" $policy.mongodbPorts) }}
{{ include "igbot.egressInternet" $policy }}
{{- end }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "igbot.egressDns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {port: {{ int . }}, protocol: UDP}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
{{- end -}}

{{- define "igbot.egressToComponent" -}}
- to:
    {{- include "igbot.peers" (dict "root" .root "components" (list .component)) | nindent 4 }}
  ports: [{port: grpc, protocol: TCP}]
{{- end -}}

{{/* With "to" (empty: anyone) and "ports". */}}
{{- define "igbot.egressTo" -}}
- ports:
    {{- range .ports }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Names cannot be matched here; Cilium's FQDN policies can, through extraObjects. */}}
{{- define "igbot.egressInternet" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{ toJson .httpsExcept }}
    - ipBlock:
        cidr: ::/0
        except: {{ toJson .httpsExceptIPv6 }}
  ports:
    {{- range .httpsPorts }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
{{- end -}}

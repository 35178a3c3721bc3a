{{/* The small objects around a Deployment. All take (dict "root" $ "component" "tokens"). */}}
{{- define "igbot.configMaps" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
data:
  {{- include "igbot.configData" . | nindent 2 }}
{{- if and (eq .component "responder") .root.Values.systemPrompt }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "igbot.metadata" (dict "root" .root "component" .component "suffix" "prompt") | nindent 2 }}
data:
  system.txt: {{ .root.Values.systemPrompt | quote }}
{{- end }}
{{- end -}}

{{- define "igbot.serviceAccount" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
{{- if $c.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- $metadata := include "igbot.metadata" (dict "root" .root "component" .component "annotations" $c.serviceAccount.annotations) | fromYaml }}
  {{- toYaml (set $metadata "name" (include "igbot.serviceAccountName" .)) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{/* Headless: a gRPC client must see every pod, or it would keep to one for the life of its connection. */}}
{{- define "igbot.grpcService" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "igbot.selectorLabels" . | nindent 4 }}
  ports:
    - {name: grpc, port: {{ int $c.ports.grpc }}, targetPort: grpc, protocol: TCP, appProtocol: grpc}
    - {name: http-metrics, port: {{ int $c.ports.metrics }}, targetPort: http-metrics, protocol: TCP, appProtocol: http}
{{- end -}}

{{- define "igbot.pdb" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
{{- /* A budget on a single pod would block every drain of its node. */}}
{{- if and $c.pdb.enabled (gt (include "igbot.minReplicas" (dict "c" $c) | int) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ $c.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "igbot.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "igbot.hpa" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
{{- if $c.autoscaling.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "igbot.componentName" . }}
  minReplicas: {{ int $c.autoscaling.minReplicas }}
  maxReplicas: {{ int $c.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ int $c.autoscaling.targetCPUUtilizationPercentage }}
  {{- with $c.autoscaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

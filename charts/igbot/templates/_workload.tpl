{{/* All take (dict "root" $ "component" "tokens"). */}}
{{- define "igbot.deployment" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "igbot.metadata" . | nindent 2 }}
spec:
  {{- /* An autoscaler owns the count; rendering one would reset it on each upgrade. */}}
  {{- if not (or $c.autoscaling.enabled (dig "keda" "enabled" false $c)) }}
  replicas: {{ int $c.replicas }}
  {{- end }}
  revisionHistoryLimit: {{ int $c.revisionHistoryLimit }}
  strategy:
    {{- toYaml $c.strategy | nindent 4 }}
  selector:
    matchLabels:
      {{- include "igbot.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "igbot.selectorLabels" . | nindent 8 }}
        app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
        {{- with $c.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ include "igbot.configMaps" . | sha256sum }}
        {{- with $c.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "igbot.podSpec" (dict "root" .root "component" .component "c" $c) | nindent 6 }}
{{- end -}}

{{/* With "c", the component's merged values, besides. */}}
{{- define "igbot.podSpec" -}}
{{- $c := .c -}}
serviceAccountName: {{ include "igbot.serviceAccountName" . }}
automountServiceAccountToken: false
{{- /* Otherwise a Service called redis would put REDIS_PORT=tcp://… into the environment. */}}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int $c.terminationGracePeriodSeconds }}
{{- with include "igbot.pullSecrets" .root }}
{{ . }}
{{- end }}
securityContext:
  {{- toYaml $c.podSecurityContext | nindent 2 }}
{{- range $key := list "priorityClassName" "runtimeClassName" }}
{{- with get $c $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "dnsConfig" "hostAliases" }}
{{- with get $c $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if $c.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $c.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "igbot.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
containers:
  - name: {{ .component }}
    image: {{ include "igbot.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [{{ .component }}]
    securityContext:
      {{- toYaml $c.containerSecurityContext | nindent 6 }}
    envFrom:
      - configMapRef: {name: {{ include "igbot.componentName" . }}}
    env:
      {{- include "igbot.secretEnv" . | trim | nindent 6 }}
      {{- with $c.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    ports:
      {{- range $name, $port := $c.ports }}
      - {name: {{ eq $name "metrics" | ternary "http-metrics" $name }}, containerPort: {{ int $port }}, protocol: TCP}
      {{- end }}
    {{- include "igbot.probes" . | nindent 4 }}
    {{- if int $c.preStopSleepSeconds }}
    lifecycle:
      preStop:
        {{- /* Time for load balancers and kube-proxy to look away before the service stops accepting. */}}
        sleep: {seconds: {{ int $c.preStopSleepSeconds }}}
    {{- end }}
    resources:
      {{- toYaml $c.resources | nindent 6 }}
    volumeMounts:
      {{- include "igbot.volumeMounts" . | nindent 6 }}
      {{- with $c.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  {{- include "igbot.volumes" (dict "root" .root "component" .component "tmpSizeLimit" $c.tmpSizeLimit) | nindent 2 }}
  {{- with $c.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Kubelet asks the ops port, which says nothing of dependencies in /healthz: an outage is no reason to restart. */}}
{{- define "igbot.probes" -}}
{{- $probes := .c.probes -}}
{{- if $probes.enabled -}}
startupProbe:
  httpGet: {path: /healthz, port: http-metrics}
  periodSeconds: {{ int $probes.startupPeriodSeconds }}
  timeoutSeconds: {{ int $probes.timeoutSeconds }}
  failureThreshold: {{ int $probes.startupFailureThreshold }}
livenessProbe:
  httpGet: {path: /healthz, port: http-metrics}
  periodSeconds: {{ int $probes.livenessPeriodSeconds }}
  timeoutSeconds: {{ int $probes.timeoutSeconds }}
  failureThreshold: {{ int $probes.livenessFailureThreshold }}
readinessProbe:
  httpGet: {path: /readyz, port: http-metrics}
  periodSeconds: {{ int $probes.readinessPeriodSeconds }}
  timeoutSeconds: {{ int $probes.timeoutSeconds }}
  failureThreshold: {{ int $probes.readinessFailureThreshold }}
{{- end -}}
{{- end -}}

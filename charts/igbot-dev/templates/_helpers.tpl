{{- define "dev.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "dev.fullname" -}}
{{- $name := include "dev.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The rest take (dict "root" $ "component" "valkey"). */}}
{{- define "dev.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dev.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dev.metadata" -}}
name: {{ include "dev.fullname" .root }}-{{ .component }}
labels:
  {{- include "dev.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/part-of: igbot
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* Takes an image's values. */}}
{{- define "dev.image" -}}
{{- $name := .repository -}}
{{- if .registry -}}{{- $name = printf "%s/%s" .registry .repository -}}{{- end -}}
{{- if .digest -}}{{ $name }}@{{ .digest }}{{- else -}}{{ $name }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "dev.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "dev.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "dev.selectorLabels" . | nindent 4 }}
  ports:
    - {name: {{ .portName }}, port: {{ .port }}, targetPort: {{ .portName }}, protocol: TCP}
{{- end -}}

{{/* With "runAsUser" too; the data stores' images have a user of their own. */}}
{{- define "dev.podSecurityContext" -}}
{{- $context := deepCopy .root.Values.podSecurityContext -}}
{{- with .runAsUser -}}
{{- $context = mergeOverwrite $context (dict "runAsUser" (int .) "runAsGroup" (int .) "fsGroup" (int .)) -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* A store: one pod with a volume. With "portName", "port", "mountPath" and "args". A StatefulSet, so that an old pod
is gone before its volume is given to a new one. */}}
{{- define "dev.store" -}}
{{- $store := get .root.Values .component -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "dev.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "dev.fullname" .root }}-{{ .component }}
  selector:
    matchLabels:
      {{- include "dev.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "dev.selectorLabels" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "dev.podSecurityContext" (dict "root" .root "runAsUser" $store.runAsUser) | nindent 8 }}
      containers:
        - name: {{ .component }}
          image: {{ include "dev.image" $store.image }}
          imagePullPolicy: {{ $store.image.pullPolicy }}
          args: {{ toJson .args }}
          securityContext:
            {{- toYaml .root.Values.containerSecurityContext | nindent 12 }}
          ports:
            - {name: {{ .portName }}, containerPort: {{ .port }}, protocol: TCP}
          {{- /* A connection is all that is asked: the images' own clients differ, and a slow answer is no reason to kill. */}}
          startupProbe:
            tcpSocket: {port: {{ .portName }}}
            periodSeconds: 2
            failureThreshold: 60
          readinessProbe:
            tcpSocket: {port: {{ .portName }}}
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml $store.resources | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: {{ .mountPath }}}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
        {{- if not $store.storage.size }}
        - name: data
          emptyDir: {}
        {{- end }}
  {{- if $store.storage.size }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $store.storage.className }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests: {storage: {{ $store.storage.size }}}
  {{- end }}
{{- end -}}

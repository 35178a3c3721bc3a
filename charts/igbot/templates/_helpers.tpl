{{/* Names. The prefix is cut to 40 characters before the component is added, so names stay under 63 and distinct. */}}
{{- define "igbot.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "igbot.fullname" -}}
{{- $name := include "igbot.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Helpers from here on take (dict "root" $ "component" "tokens"), unless they say otherwise. */}}
{{- define "igbot.componentName" -}}
{{ include "igbot.fullname" .root }}-{{ .component }}
{{- end -}}

{{- define "igbot.selectorLabels" -}}
app.kubernetes.io/name: {{ include "igbot.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The version is the chart's appVersion, never the image's tag, which may carry a digest. */}}
{{- define "igbot.labels" -}}
{{ include "igbot.selectorLabels" . }}
app.kubernetes.io/part-of: igbot
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* name, labels and annotations; "suffix" goes behind the name, "annotations" is a map of more. */}}
{{- define "igbot.metadata" -}}
name: {{ include "igbot.componentName" . }}{{ with .suffix }}-{{ . }}{{ end }}
labels:
  {{- include "igbot.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (.annotations | default dict)) }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A component's values over the defaults. deepCopy, because a merge shares nested maps; Overwrite, so that false wins. */}}
{{- define "igbot.component" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (get .root.Values .component)) | toYaml -}}
{{- end -}}

{{- define "igbot.image" -}}
{{- $image := .Values.image -}}
{{- $registry := .Values.global.imageRegistry | default $image.registry -}}
{{- $repository := $image.repository -}}
{{- if $registry -}}{{- $repository = printf "%s/%s" $registry $repository -}}{{- end -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $repository ($image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- define "igbot.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "igbot.serviceAccountName" -}}
{{- $c := include "igbot.component" . | fromYaml -}}
{{- if $c.serviceAccount.create -}}
{{- $c.serviceAccount.name | default (include "igbot.componentName" .) -}}
{{- else -}}
{{- $c.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Takes a component's merged values, "c": the fewest replicas there will be. */}}
{{- define "igbot.minReplicas" -}}
{{- if dig "keda" "enabled" false .c -}}
{{ int .c.keda.minReplicas }}
{{- else if .c.autoscaling.enabled -}}
{{ int .c.autoscaling.minReplicas }}
{{- else -}}
{{ int .c.replicas }}
{{- end -}}
{{- end -}}

{{/* Takes the root: publicUrl's host, without the port. */}}
{{- define "igbot.publicHost" -}}
{{- (urlParse .Values.publicUrl).host | regexFind "^[^:]*" -}}
{{- end -}}

{{/* Takes (dict "root" $ "concern" "meta"): the Secret's name, the user's or, for development, the chart's. */}}
{{- define "igbot.secretName" -}}
{{- $secret := get .root.Values.secrets .concern -}}
{{- if $secret.existingSecret -}}
{{ tpl $secret.existingSecret .root }}
{{- else if and .root.Values.secrets.create $secret.values -}}
{{ include "igbot.fullname" .root }}-dev-{{ .concern }}
{{- end -}}
{{- end -}}

{{/* The gateway's public paths, one list for Ingress and HTTPRoute. Nothing else is reachable from outside. */}}
{{- define "igbot.publicPaths" -}}
- {path: /, exact: true}
- {path: /connect, exact: true}
- {path: /oauth/callback, exact: true}
- {path: /webhook, exact: true}
- {path: /deauthorize, exact: true}
- {path: /data-deletion, exact: false}
- {path: /style.css, exact: true}
{{- end -}}

{{/* Takes the root. ingress-nginx and NGINX's own controller refuse bodies over 1 MiB unless told. */}}
{{- define "igbot.ingressAnnotations" -}}
{{- $size := printf "%dm" (int .Values.ingress.maxBodyMiB) -}}
{{- if contains "nginx" .Values.ingress.className -}}
nginx.ingress.kubernetes.io/proxy-body-size: {{ $size }}
nginx.org/client-max-body-size: {{ $size }}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "http-trace.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "http-trace.selector" -}}
app.kubernetes.io/name: http-trace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "http-trace.labels" -}}
{{ include "http-trace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "pointsman.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "pointsman.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pointsman.labels" -}}
{{ include "pointsman.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "pointsman.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The ConfigMap's keys → where each goes below /etc/router. A key has no `/`. */}}
{{- define "pointsman.keys" -}}
{{- if .Values.config.existingConfigMap }}
{{- if not .Values.config.keys }}{{ fail "config.keys says where the keys of config.existingConfigMap go" }}{{ end }}
{{- toYaml .Values.config.keys }}
{{- else }}
routes.yaml: routes.yaml
{{- if .Values.config.drills }}
drills.yaml: drills.yaml
{{- end }}
{{- range $folder := list "pipelines" "tools" }}
{{- range $name, $_ := index $.Values.config $folder }}
{{ $folder }}.{{ $name }}: {{ $folder }}/{{ $name }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

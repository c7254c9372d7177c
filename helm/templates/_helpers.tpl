{{- /* sluice-ingestion-gate: underscores are not allowed in names of Kubernetes objects. */ -}}
{{- define "sluice.name" -}}
{{ .release }}-{{ .service | replace "_" "-" }}
{{- end -}}

{{- define "sluice.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

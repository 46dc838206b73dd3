{{- define "branchmerge.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "branchmerge.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "branchmerge.labels" -}}
{{ include "branchmerge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "branchmerge.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "branchmerge.name" .) }}
{{- end }}

{{- define "branchmerge.operatorImage" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "branchmerge.trainerImage" -}}
{{ .Values.trainer.image.repository }}:{{ .Values.trainer.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "branchmerge.settings" -}}
{{- $settings := dict
  "pools" .Values.pools
  "defaultPool" .Values.defaultPool
  "trainerImage" (include "branchmerge.trainerImage" .)
  "imagePullPolicy" .Values.trainer.image.pullPolicy
  "imagePullSecrets" .Values.imagePullSecrets
  "runAsUser" (int64 .Values.trainer.runAsUser)
  "fsGroup" (int64 .Values.trainer.fsGroup)
  "sharedMemory" .Values.trainer.sharedMemory
  "progressUrl" (printf "http://%s.%s.svc:8080/progress" (include "branchmerge.name" .) .Release.Namespace)
  "workers" (int .Values.workers)
  "resyncSeconds" (int .Values.resyncSeconds)
  "leaderElection" (dict
    "leaseName" (include "branchmerge.name" .)
    "leaseSeconds" (int .Values.leaderElection.leaseSeconds)
    "renewSeconds" (int .Values.leaderElection.renewSeconds))
}}
{{- with .Values.watchNamespace }}{{ $_ := set $settings "watchNamespace" . }}{{ end -}}
{{ toPrettyJson $settings }}
{{- end }}

{{- define "branchmerge.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $name | trunc 63 | trimSuffix "-" }}
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
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "branchmerge.serviceAccount" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name: \"\" names no account that is there: set it, or let serviceAccount.create make one" -}}
{{- end -}}
{{ .Values.serviceAccount.name | default (include "branchmerge.name" .) }}
{{- end }}

{{- define "branchmerge.subjects" -}}
- {kind: ServiceAccount, name: {{ include "branchmerge.serviceAccount" . }}, namespace: {{ .Release.Namespace }}}
{{- end }}

{{- /* An image of the values: by digest, else by tag, else by the chart's appVersion. */ -}}
{{- define "branchmerge.image" -}}
{{- $image := .image -}}
{{ $image.repository }}{{ with $image.digest }}@{{ . }}{{ else }}:{{ $image.tag | default .appVersion }}{{ end }}
{{- end }}

{{- define "branchmerge.operatorImage" -}}
{{ include "branchmerge.image" (dict "image" .Values.image "appVersion" .Chart.AppVersion) }}
{{- end }}

{{- define "branchmerge.trainerImage" -}}
{{ include "branchmerge.image" (dict "image" .Values.trainer.image "appVersion" .Chart.AppVersion) }}
{{- end }}

{{- /* Whether stages post their progress: unless said otherwise, where that takes no object outside a namespace. */ -}}
{{- define "branchmerge.progress" -}}
{{ ternary .Values.progress.enabled (eq .Values.watchNamespace "") (kindIs "bool" .Values.progress.enabled) }}
{{- end }}

{{- define "branchmerge.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "branchmerge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The operator's settings: branchmerge.kube.settings.OperatorSettings as JSON. */ -}}
{{- define "branchmerge.settings" -}}
{{- $name := include "branchmerge.name" . -}}
{{- $lease := .Values.leaderElection -}}
{{- if gt (mul 2 (int $lease.renewSeconds)) (int $lease.leaseSeconds) -}}
{{- fail (printf "leaderElection.renewSeconds: %v is more than half of leaseSeconds (%v): one slow answer would cost the lead" $lease.renewSeconds $lease.leaseSeconds) -}}
{{- end -}}
{{- $secrets := list -}}
{{- range .Values.imagePullSecrets }}{{ $secrets = append $secrets .name }}{{ end -}}
{{- $settings := dict
  "pools" .Values.pools
  "defaultPool" .Values.defaultPool
  "trainerImage" (include "branchmerge.trainerImage" .)
  "imagePullPolicy" .Values.trainer.image.pullPolicy
  "imagePullSecrets" $secrets
  "runAsUser" (int64 .Values.trainer.runAsUser)
  "fsGroup" (int64 .Values.trainer.fsGroup)
  "sharedMemory" .Values.trainer.sharedMemory
  "workers" (int .Values.workers)
  "resyncSeconds" (int .Values.resyncSeconds)
  "leaderElection" (dict
    "leaseName" $name
    "leaseSeconds" (int $lease.leaseSeconds)
    "renewSeconds" (int $lease.renewSeconds))
-}}
{{- with .Values.watchNamespace }}{{ $_ := set $settings "watchNamespace" . }}{{ end -}}
{{- if eq (include "branchmerge.progress" .) "true" -}}
{{- $_ := set $settings "progressUrl" (printf "http://%s.%s.svc:8080/progress" $name .Release.Namespace) -}}
{{- end -}}
{{ toPrettyJson $settings }}
{{- end }}

{{- /* Annotations of what runs once the release is gone; where it fails, it stays there to be read. */ -}}
{{- define "branchmerge.afterUninstall" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

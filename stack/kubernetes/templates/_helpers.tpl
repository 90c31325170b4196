{{/* Names and labels. */}}
{{- define "k2.name" -}}
{{- if contains "k2" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-k2" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "k2.selector" -}}
app.kubernetes.io/name: k2
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "k2.labels" -}}
{{ include "k2.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "k2.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The section external, which has to be there. */}}
{{- define "k2.external" -}}
{{- $external := .Values.profile.external | default dict }}
{{- if not (and $external.kafka $external.catalog $external.warehouse $external.state) }}
{{- fail "profile.external does not say where kafka, state, catalog and warehouse are. Write a profile with that section, then: k2ctl stack render --kubernetes --profile ./prod.yaml > values.yaml" }}
{{- end }}
{{- $external | toYaml }}
{{- end }}

{{/* The names of the references ${env:NAME}, as a list in YAML. */}}
{{- define "k2.variables" -}}
{{- $names := list }}
{{- range regexFindAll "\\$\\{env:[^{}]+\\}" (include "k2.external" .) -1 }}
{{- $names = append $names (trimSuffix "}" (trimPrefix "${env:" .)) }}
{{- end }}
{{- $names | uniq | sortAlpha | toYaml }}
{{- end }}

{{/* The paths of the references ${file:PATH}. */}}
{{- define "k2.files" -}}
{{- $paths := list }}
{{- range regexFindAll "\\$\\{file:[^{}]+\\}" (include "k2.external" .) -1 }}
{{- $path := trimSuffix "}" (trimPrefix "${file:" .) }}
{{- if not (hasPrefix "/" $path) }}
{{- fail (printf "%s: a pod has no such file; name it by a whole path, as ${file:/run/secrets/NAME}" .) }}
{{- end }}
{{- $paths = append $paths $path }}
{{- end }}
{{- $paths | uniq | sortAlpha | toYaml }}
{{- end }}

{{/* Where the value of a reference is: the name of a Secret and its key. Of a list: root, name. */}}
{{- define "k2.key" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $found := index $root.Values.secrets.elsewhere $name | default (dict "name" $root.Values.secrets.name "key" $name) }}
{{- dict "name" $found.name "key" $found.key | toYaml }}
{{- end }}

{{/* The ports of the services that the profile names. */}}
{{- define "k2.ports" -}}
{{- $external := include "k2.external" . | fromYaml }}
{{- $ports := list }}
{{- range regexFindAll ":[0-9]+" (dig "kafka" "bootstrap_servers" "" $external | toString) -1 }}
{{- $ports = append $ports (trimPrefix ":" . | int) }}
{{- end }}
{{- range $address := list $external.state $external.catalog (index ($external.storage | default dict) "s3.endpoint") (index ($external.catalog_access | default dict) "oauth2-server-uri") }}
{{- $bare := regexReplaceAll "\\$\\{[^{}]*\\}" (toString ($address | default "")) "" }}
{{- $written := regexFind "://[^/?#]*:[0-9]+([/?#]|$)" $bare }}
{{- if $written }}
{{- $ports = append $ports (regexFind "[0-9]+([/?#]|$)" $written | trimAll "/?#" | int) }}
{{- else if hasPrefix "postgresql" $bare }}
{{- $ports = append $ports 5432 }}
{{- else if hasPrefix "redis" $bare }}
{{- $ports = append $ports 6379 }}
{{- else if hasPrefix "https://" $bare }}
{{- $ports = append $ports 443 }}
{{- else if hasPrefix "http://" $bare }}
{{- $ports = append $ports 80 }}
{{- end }}
{{- end }}
{{- if not (index ($external.storage | default dict) "s3.endpoint") }}
{{- $ports = append $ports 443 }}
{{- end }}
{{- range .Values.networkPolicy.ports }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- range $ports | uniq }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{/* What every pod has in common. Of a dict: root, component, values (resources, environment, stateSize, …). */}}
{{- define "k2.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "k2.pod" -}}
serviceAccountName: {{ include "k2.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
initContainers:
  # Reads the profile and its secrets, and leaves the addresses in memory: no other container has the secrets.
  - name: endpoints
    image: {{ include "k2.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [stack, up, --engine, external, --profile, /etc/k2/profile.yaml, --no-wait]
    env:
      {{- include "k2.environment" . | nindent 6 }}
      {{- range include "k2.variables" .root | fromYamlArray }}
      - name: {{ . }}
        valueFrom: {secretKeyRef: {{ include "k2.key" (list $.root .) | fromYaml | toJson }}}
      {{- end }}
    volumeMounts:
      {{- include "k2.mounts" . | nindent 6 }}
      {{- range include "k2.files" .root | fromYamlArray }}
      - {name: secrets, mountPath: {{ . }}, subPath: {{ base . }}, readOnly: true}
      {{- end }}
    resources:
      requests: {cpu: 100m, memory: 256Mi}
      limits: {memory: 256Mi}
    securityContext: {{ include "k2.security" . | nindent 6 }}
{{- end }}

{{/* The one container of a pod, but for its arguments, ports and probes. */}}
{{- define "k2.container" -}}
image: {{ .image | default (include "k2.image" .root) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
resources: {{ toYaml .values.resources | nindent 2 }}
securityContext: {{ include "k2.security" . | nindent 2 }}
volumeMounts:
  {{- include "k2.mounts" . | nindent 2 }}
{{- end }}

{{- define "k2.environment" -}}
- {name: HOME, value: /var/lib/k2}
- {name: K2CTL_HOME, value: /var/lib/k2/state}
- {name: K2CTL_ENDPOINTS, value: /run/k2/endpoints.json}
- {name: K2CTL_LOG_LEVEL, value: INFO}
- {name: K2CTL_LOG_FORMAT, value: json}
{{- range $name, $value := .values.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "k2.mounts" -}}
- {name: profile, mountPath: /etc/k2, readOnly: true}
- {name: endpoints, mountPath: /run/k2}
- {name: state, mountPath: /var/lib/k2}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "k2.volumes" -}}
- name: profile
  configMap: {name: {{ include "k2.name" .root }}-profile}
- name: endpoints
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: state
  emptyDir: {sizeLimit: {{ .values.stateSize }}}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.stateSize }}}
{{- with include "k2.files" .root | fromYamlArray }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      {{- $key := include "k2.key" (list $.root (base .)) | fromYaml }}
      - secret: {name: {{ $key.name }}, items: [{key: {{ $key.key }}, path: {{ base . }}}]}
      {{- end }}
{{- end }}
{{- end }}

{{/* A changed profile is a changed pod. */}}
{{- define "k2.annotations" -}}
k2/profile: {{ list .root.Values.profile .root.Values.profileFiles | toYaml | sha256sum }}
{{- with .values.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

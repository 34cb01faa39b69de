{{/* What the objects are called by. */}}
{{- define "toyrental.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Labels by which the pods of a component are known for good. Takes `root` and `name`. */}}
{{- define "toyrental.selector" -}}
app.kubernetes.io/name: toyrental
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Labels of every object that belongs to no component. */}}
{{- define "toyrental.labels" -}}
app.kubernetes.io/name: toyrental
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Name and labels of an object of a component. Takes `root` and `name`. */}}
{{- define "toyrental.metadata" -}}
name: {{ include "toyrental.fullname" .root }}-{{ .name }}
labels:
  {{- include "toyrental.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* The image, by digest where there is one. */}}
{{- define "toyrental.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
The objects of the files that match `glob`, each with our labels. They are made from crds/ and
manifests/. With `keep` they outlive the release; kinds that begin with `without` are left out.
*/}}
{{- define "toyrental.files" -}}
{{- $root := .root -}}
{{- $keep := .keep -}}
{{- range $path, $_ := $root.Files.Glob .glob }}
{{- range splitList "\n---\n" ($root.Files.Get $path) }}
{{- $object := fromYaml . }}
{{- if not (and $.without (hasPrefix $.without $object.kind)) }}
{{- $extra := dict "labels" (include "toyrental.labels" $root | fromYaml) }}
{{- if $keep }}
{{- $_ := set $extra "annotations" (dict "helm.sh/resource-policy" "keep") }}
{{- end }}
---
{{ toYaml (merge (dict "metadata" $extra) $object) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What all pods have in common: where they run, and what they may not do. Takes `root`, `name`. */}}
{{- define "toyrental.pod" -}}
serviceAccountName: {{ include "toyrental.fullname" .root }}-{{ .name }}
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "toyrental.selector" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{/* What no container may do. */}}
{{- define "toyrental.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Labels and annotations of pods. Takes `root` and `name`. */}}
{{- define "toyrental.podMetadata" -}}
labels:
  {{- include "toyrental.selector" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whether all shops are plain names: not empty then. */}}
{{- define "toyrental.namedShops" -}}
{{- $names := .Values.namespaces -}}
{{- range $names -}}
{{- if not (regexMatch "^[a-z0-9-]+$" .) -}}{{- $names = list -}}{{- end -}}
{{- end -}}
{{- join "," $names -}}
{{- end }}

{{/* Where pods may go: DNS, and the ports of the values. */}}
{{- define "toyrental.egress" -}}
- ports:
  - port: 53
    protocol: UDP
  - port: 53
    protocol: TCP
- ports:
  {{- range .Values.networkPolicy.egressPorts }}
  - port: {{ . }}
    protocol: TCP
  {{- end }}
{{- end }}

{{/* Labels by which a Prometheus chooses its monitors and rules, beside ours. */}}
{{- define "toyrental.monitorLabels" -}}
{{- include "toyrental.labels" . }}
{{- with .Values.metrics.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* How Prometheus reads the metrics. The label `namespace` of ours is the shop, not the operator's. */}}
{{- define "toyrental.scrape" -}}
- port: metrics
  path: /metrics
  interval: {{ .Values.metrics.interval }}
  honorLabels: true
{{- end }}

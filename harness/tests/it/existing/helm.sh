#!/bin/sh
# Stands for helm where there is none: what it renders under the names of Istio's charts are manifests of the embedded mesh, with what
# the files of values say. All that is around it is as with helm. MANIFESTS is the folder of the manifests.
set -eu
[ "$1" = template ] || { echo "helm $1 was not expected" >&2; exit 2; }
release=$2 chart=$3 values=/dev/null
shift 3
while [ $# -gt 0 ]; do
  case "$1" in
    --values) values=$2; shift 2 ;;
    --repo | --version | --namespace) shift 2 ;;
    --include-crds) shift ;;
    *) echo "the option $1 was not expected" >&2; exit 2 ;;
  esac
done
value() { sed -n "s/^ *$1: *//p" "$values" | head -n 1 | tr -d '[]"'; }
render() {
  for file in "$@"; do
    echo ---
    sed -e "s|\${CLUSTER_NAME}|$(value clusterName)|g" -e "s|\${MESH_ID}|$(value meshID)|g" \
      -e "s|\${TRUST_DOMAIN}|$(value trustDomain)|g" -e "s|\${TRUST_DOMAIN_ALIASES}|$(value trustDomainAliases)|g" \
      -e "s|\${ANY_TRUST_DOMAIN}|$(value PILOT_SKIP_VALIDATE_TRUST_DOMAIN)|g" -e "s|\${PROXY_METADATA}|{}|g" \
      -e "s|\${INJECTION_PATH}|/inject|g" -e "s|\${NETWORK}|$(value networkGateway)|g" "$file"
  done
}
case "$chart" in
  base) render "$MANIFESTS"/crds/*.yaml "$MANIFESTS"/istio/1[01]-*.yaml ;;
  istiod) render "$MANIFESTS"/istio/20-istiod.yaml "$MANIFESTS"/istio/30-webhooks.yaml ;;
  gateway) render "$MANIFESTS"/istio/4[01]-"${release#istio-}".yaml ;;
  *) echo "the chart $chart was not expected" >&2; exit 2 ;;
esac

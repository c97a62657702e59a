#!/usr/bin/env bash
# A newcomer: clones this checkout into an empty folder, runs the first command of its README and nothing else, and looks for
# the demo's report. Without the variables, .venv and PATH of who starts it; only pip's settings and make's TORCH stay.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

git clone --quiet "$root" "$scratch/clone"
command=$(grep --max-count=1 --only-matching '^    make [a-z]*' "$scratch/clone/README.md")
echo "the README's first command:$command"

config=${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf
if [[ -f $config ]]; then export PIP_CONFIG_FILE=${PIP_CONFIG_FILE:-$config}; fi
kept=()
for name in "${!PIP_@}" "${!CCACHE_@}" TORCH PYTHON CXX HTTPS_PROXY https_proxy; do
  if [[ -n "${!name:-}" ]]; then kept+=("$name=${!name}"); fi
done
(
  cd "$scratch/clone"
  env --ignore-environment HOME="$scratch" PATH="${NEWCOMER_PATH:-/usr/local/bin:/usr/bin:/bin}" LANG=C.UTF-8 "${kept[@]}" \
    bash -c "$command"
)
report=$scratch/clone/demo-output/report.html
[[ -s $report ]] || { echo "no report: $report"; exit 1; }
grep --quiet 'demosaicnet' "$report"
[[ -z $(git -C "$scratch/clone" status --porcelain) ]] || { echo 'the clone is not clean after it'; exit 1; }
echo "the report is there: $(stat --format=%s "$report") bytes, after $SECONDS s"

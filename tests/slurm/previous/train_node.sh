#!/usr/bin/env bash
# One node's part of a job: `accelerate launch ARGUMENTS`, and word to the processes that train when the job has to stop.
#   srun bash slurm/train_node.sh ARGUMENTS
# They get SIGUSR1, the launcher nothing: it forwards some signals, dies of others, and kills processes that are still saving.
set -uo pipefail

# Process ids of this job's `python -m lmeff.run` on this node, also of those that have lost their launcher.
workers() {
  local process
  for process in $(pgrep -f '^[^ ]*python[^ ]* (-u )?-m lmeff\.run '); do
    if grep -qszxF "SLURM_JOB_ID=$SLURM_JOB_ID" "/proc/$process/environ"; then echo "$process"; fi
  done
}

asked=''
trap 'asked=yes' USR1 TERM
(
  # Slurm signals every process of a step. Ignored here, it is ignored by the launcher and, until they listen, by the others.
  trap '' USR1 TERM
  export PET_SIGNALS_TO_HANDLE=SIGINT # torchrun's handlers, which would come after
  exec accelerate launch --quiet --machine_rank "$SLURM_PROCID" "$@"
) &
launcher=$!
while kill -0 "$launcher" 2>/dev/null || [[ $(workers) ]]; do
  if [[ $asked ]]; then # again and again: a process that is still starting does not listen yet
    for worker in $(workers); do kill -USR1 "$worker" 2>/dev/null; done
  fi
  sleep 1 &
  wait $! # unlike sleep itself, ended by a signal
done
code=0
wait "$launcher" || code=$?
if [[ $asked ]]; then exit 0; fi # an end that was asked for is no reason to kill other nodes; state.json has the outcome
exit "$code"

#!/usr/bin/env bash
# A real Slurm on this machine alone, for the tests: installed if need be (Debian or Ubuntu, as root), started anew each time.
#   bash tests/slurm/one_node.sh start FOLDER [NUMBER]    then: SLURM_CONF=FOLDER/slurm.conf sbatch ...
#   bash tests/slurm/one_node.sh stop FOLDER
# Its configuration, state and logs are in FOLDER, and its ports are its own: a Slurm that the machine may have is left alone.
# Several can run at once, each with a NUMBER of its own, 0 to 49: it decides ports and the numbers of jobs, of which the
# templates make ports and by which they find processes.
# The machine plays two nodes, so that runs over several can be tried too. Exit code 3: Slurm cannot be installed here.
set -euo pipefail
action=$1 folder=$2 number=${3:-0}
port=$((16810 + 10 * number)) # and the next two
host=$(hostname -s)
nodes=("$host" "$host-second")
cpus=$((($(nproc) + 1) / 2)) # of each node
export SLURM_CONF=$folder/slurm.conf

# Whether the Slurm that answers is the one of this folder.
is_ours() {
  [[ $(scontrol show config 2>/dev/null) == *"= $folder/slurmctld"$'\n'* ]]
}

stop() {
  local file
  if is_ours; then scancel --me --full --signal=KILL 2>/dev/null || true; fi
  for file in "$folder"/*.pid; do
    if [[ -e $file ]]; then kill "$(<"$file")" 2>/dev/null || true; fi
  done
  for _ in {1..50}; do
    if ! compgen -G "$folder/*.pid" >/dev/null; then return; fi
    sleep 0.2
  done
  rm -f "$folder"/*.pid
}

# What all of them share: installed and started by one at a time. Munge vouches for who sends a message; its key comes with the
# package.
prepare_machine() {
  local programs=(slurmctld slurmd sbatch munged)
  if ! { ((EUID == 0)) && { type "${programs[@]}" || command -v apt-get; } >/dev/null 2>&1; }; then
    echo "a Slurm for the tests needs root, and apt-get where it is not installed (slurm-wlm and munge on Debian, Ubuntu)" >&2
    exit 3
  fi
  (
    flock 9
    if ! type "${programs[@]}" >/dev/null 2>&1; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null 9>&-
    fi
    if ! munge -n >/dev/null 2>&1; then
      install -d -o munge -g munge -m 755 /run/munge
      runuser -u munge -- munged 9>&-
    fi
  ) 9>/run/lmeff-slurm.lock
}

configure() {
  cat >"$SLURM_CONF" <<END
ClusterName=lmeff_tests_$number
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
AuthType=auth/munge
# A job that is queued again waits for as long as a credential is good: 120 s by default, 5 s at least.
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/slurmctld
SlurmdSpoolDir=$folder/slurmd.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
FirstJobId=$((1 + 100 * number))
MpiDefault=none
NodeName=${nodes[0]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=$cpus
NodeName=${nodes[1]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=$cpus
PartitionName=tests Nodes=ALL Default=YES State=UP
PartitionName=grace Nodes=ALL State=UP GraceTime=60
PartitionName=urgent Nodes=ALL State=UP PriorityTier=9
END
}

start() {
  prepare_machine
  stop
  mkdir -p "$folder"/slurmctld "${nodes[@]/#/$folder/slurmd.}"
  configure
  slurmctld -c
  for node in "${nodes[@]}"; do slurmd -N "$node"; done
  for _ in {1..150}; do
    if is_ours && [[ $(sinfo -h -o %t 2>/dev/null) == idle ]]; then return; fi
    sleep 0.2
  done
  sinfo >&2 || true
  tail -n 20 "$folder"/*.log >&2
  exit 1
}

"$action"

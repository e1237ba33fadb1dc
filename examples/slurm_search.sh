#!/usr/bin/env bash
# A search on several nodes under SLURM: task 0 is the chief, the others are workers.
#
#   python bin/train.py --config=configs/cifar10_resnet56.py --workdir=SHARED/run
#   sbatch examples/slurm_search.sh --config=configs/cifar10_resnet56.py --workdir=SHARED/run
#
# The working folder must lie on a file system that all nodes share. Submit it again to go on after
# the time limit: trials that are done stand, and the one in flight is run again.
#SBATCH --job-name=tfrcp-search
#SBATCH --ntasks=5
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

KERASTUNER_ORACLE_IP=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export KERASTUNER_ORACLE_IP
export KERASTUNER_ORACLE_PORT=$((20000 + SLURM_JOB_ID % 20000))

# One task that ends, or is killed, does not end the others.
srun --kill-on-bad-exit=0 bash -c '
  export KERASTUNER_TUNER_ID=$([ "$SLURM_PROCID" = 0 ] && echo chief || echo "worker$SLURM_PROCID")
  exec python bin/search.py "$@"
' search "$@"

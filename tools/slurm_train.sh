#!/usr/bin/env bash
# Train on a SLURM cluster, on one or more nodes, and resume automatically after the time limit of a job.
#
#     sbatch --nodes 2 --gres gpu:4 --time 12:00:00 tools/slurm_train.sh --dataset MP3D --dataset_rootdir /data/MP3D \
#         --log_dir ./workdirs_uni/MP3D --batch_size 2 --num_epochs 150
#
# Two minutes before the time limit, SLURM sends SIGTERM to this script, which forwards it. The state is saved and the
# job is requeued; a job with the same id resumes the training.
#SBATCH --job-name elite360m
#SBATCH --ntasks-per-node 1
#SBATCH --cpus-per-task 16
#SBATCH --signal B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode append
set -uo pipefail

gpus=${SLURM_GPUS_ON_NODE:-1}
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# srun forwards SIGTERM to torchrun and its processes; each finishes its step.
srun torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "$gpus" --max-restarts 3 \
    --rdzv_backend c10d --rdzv_id "$SLURM_JOB_ID" --rdzv_endpoint "$first_node:29500" \
    train_elite360m.py "$@" &
training=$!
ended_by_time=0
trap 'ended_by_time=1; kill -TERM $training' TERM
wait $training
code=$?
while kill -0 $training 2>/dev/null; do wait $training; code=$?; done
if [ "$ended_by_time" = 1 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code

#!/usr/bin/env bash
# Evaluates a checkpoint: GPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" eval GPU run_eval_gpu.sh "$@"

#!/usr/bin/env bash
# Trains on several devices with msrun: GPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" distribute GPU run_distribute_train_gpu.sh "$@"

#!/usr/bin/env bash
# Trains on one device: GPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" train GPU run_single_train_gpu.sh "$@"

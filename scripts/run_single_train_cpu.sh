#!/usr/bin/env bash
# Trains on one device: CPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" train CPU run_single_train_cpu.sh "$@"

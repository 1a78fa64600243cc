#!/usr/bin/env bash
# Trains on several devices with msrun: CPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" distribute CPU run_distribute_train_cpu.sh "$@"

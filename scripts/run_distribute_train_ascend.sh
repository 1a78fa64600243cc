#!/usr/bin/env bash
# Trains on several devices with msrun: Ascend.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" distribute Ascend run_distribute_train_ascend.sh "$@"

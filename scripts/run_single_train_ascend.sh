#!/usr/bin/env bash
# Trains on one device: Ascend.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" train Ascend run_single_train_ascend.sh "$@"

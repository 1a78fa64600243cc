#!/usr/bin/env bash
# Evaluates a checkpoint: Ascend.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" eval Ascend run_eval_ascend.sh "$@"

#!/usr/bin/env bash
# Evaluates a checkpoint: CPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/job.sh" eval CPU run_eval_cpu.sh "$@"

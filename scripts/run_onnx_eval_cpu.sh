#!/usr/bin/env bash
# Evaluates an ONNX file through onnxruntime on the CPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/onnx_eval.sh" CPU "$@"

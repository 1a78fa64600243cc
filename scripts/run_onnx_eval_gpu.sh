#!/usr/bin/env bash
# Evaluates an ONNX file through onnxruntime on CUDA.
exec bash "$(dirname "${BASH_SOURCE[0]}")/onnx_eval.sh" GPU "$@"

#!/usr/bin/env bash
# Writes heatmaps, segments and label keypoints with PoseEstNet: GPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/trans.sh" GPU "$@"

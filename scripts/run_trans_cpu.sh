#!/usr/bin/env bash
# Writes heatmaps, segments and label keypoints with PoseEstNet: CPU.
exec bash "$(dirname "${BASH_SOURCE[0]}")/trans.sh" CPU "$@"

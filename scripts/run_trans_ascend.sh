#!/usr/bin/env bash
# Writes heatmaps, segments and label keypoints with PoseEstNet: Ascend.
exec bash "$(dirname "${BASH_SOURCE[0]}")/trans.sh" Ascend "$@"

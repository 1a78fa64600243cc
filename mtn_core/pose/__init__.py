"""PoseEstNet: training, PCK, decoding, and the pose maps that MultiTaskNet reads."""

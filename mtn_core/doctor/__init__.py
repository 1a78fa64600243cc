"""What this machine has, what it misses, and the command that mends it.

Nothing here is imported by the parts that it looks at, and a part that is broken breaks its own
line alone: MindSpore, ONNX Runtime and torch are tried in processes of their own.
"""

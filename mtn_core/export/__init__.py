"""Out of the notebook: MINDIR and ONNX with proof of parity, onnxruntime, 310 inference.

``model_json``, ``host_input``, ``onnx_session``, ``onnx_eval``, ``preprocess``, ``postprocess`` and
``lite`` run where MindSpore is not installed; ``describe``, ``mindspore_graphs`` and ``exporter``
need it.
"""

"""Rewriting what MindSpore exports into the ONNX file that is shipped.

MindSpore writes a graph for one fixed batch size with numbers for output names. Here its batch size
becomes free, its inputs and outputs get their names, and what a client must know goes inside.
"""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

# MindSpore chooses the pure-Python protobuf, and fails when onnx has loaded the other one before.
with contextlib.suppress(ImportError):
    import mindspore  # noqa: F401
import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from mtn_core.errors import DataError
from mtn_core.files import atomic_path
from mtn_core.predict.model_json import BATCH, IMAGE, KEYPOINTS, OUTPUT_NAMES

_EMBEDDING = OUTPUT_NAMES.index("embedding")


def finish_graph(model: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Name, free and document a graph as MindSpore exported it for batch size 1.

    Args:
        model: Changed in place.
        metadata: Texts to store in the file.

    Returns:
        The checked model with inferred shapes.

    Raises:
        DataError: The graph is not a MultiTaskNet, or its batch size cannot be freed.
    """
    graph = model.graph
    if [i.name for i in graph.input] != [IMAGE, KEYPOINTS] or len(graph.output) != 4:
        raise DataError(
            f"expected a graph with inputs image, keypoints and four outputs; it has "
            f"{[i.name for i in graph.input]} and {[o.name for o in graph.output]}"
        )
    _rename(graph, dict(zip([o.name for o in graph.output], OUTPUT_NAMES, strict=True)))
    _use_keypoints(graph)
    _free_batch(graph)
    del model.metadata_props[:]
    helper.set_model_props(model, dict(metadata))
    model.producer_name = "mtn_core"
    model.doc_string = "MultiTaskNet: vehicle identity, colour and type (PAMTRI, ICCV 2019)"
    return check(model)


def check(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run ONNX's checker and strict shape inference; every output's batch size must be free.

    Raises:
        DataError: Something in the graph fixes the batch size.
    """
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    # Outputs are inferred from nothing but the inputs, so that a wrong claim cannot hide.
    unclaimed = onnx.ModelProto()
    unclaimed.CopyFrom(model)
    for output in unclaimed.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(unclaimed, strict_mode=True, data_prop=True)
    for output in inferred.graph.output:
        dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
        # Behind some operators the symbol has another name; a number would be a fixed size.
        if len(dims) != 2 or not isinstance(dims[0], str):
            raise DataError(
                f"the batch size of output {output.name} is not free: shape inference gives {dims}"
            )
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operator set."""
    return next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def save(model: onnx.ModelProto, path: str | Path) -> None:
    """Write the file, whole or not at all."""
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """An independent copy."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin


def scratch_folder() -> tempfile.TemporaryDirectory:
    """A folder for the intermediate files of tools that only take paths."""
    return tempfile.TemporaryDirectory(prefix="mtn-export-")


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for i, value in enumerate(values):
                values[i] = names.get(value, value)
    for output in graph.output:
        output.name = names[output.name]


def _use_keypoints(graph: onnx.GraphProto) -> None:
    """Let a network without keypoints keep the input.

    An input that no node reads is lost in MindSpore Lite's converter, and every client would need a
    second form of call. Joined to the embedding and cut off again, it changes no value.
    """
    if any(KEYPOINTS in node.input for node in graph.node):
        return
    output = graph.output[_EMBEDDING]
    width = output.type.tensor_type.shape.dim[1].dim_value
    _rename(graph, {o.name: o.name for o in graph.output} | {output.name: "embedding_alone"})
    output.name = OUTPUT_NAMES[_EMBEDDING]
    limits = {"keypoints_cut_from": 0, "keypoints_cut_to": width, "keypoints_cut_axis": 1}
    for name, value in limits.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    graph.node.extend(
        [
            helper.make_node(
                "Concat", ["embedding_alone", KEYPOINTS], ["embedding_and_keypoints"], axis=1
            ),
            helper.make_node("Slice", ["embedding_and_keypoints", *limits], [output.name]),
        ]
    )


def _free_batch(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = BATCH
    # Batch norm of a vector is exported between two reshapes to a batch of one; 0 in the target
    # shape means "as it comes in".
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for initializer in graph.initializer:
        if initializer.name in targets:
            _free_target(initializer)
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in targets:
            _free_target(node.attribute[0].t)


def _free_target(tensor: onnx.TensorProto) -> None:
    shape = numpy_helper.to_array(tensor).copy()
    if shape.size > 1 and shape[0] == 1:
        shape[0] = 0
        tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))

"""Preprocessing inside the ONNX file, so that a client may send uint8 pixels and maps."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mtn_core.export.onnx_graph import check, copy
from mtn_core.predict.host_input import map_keys
from mtn_core.predict.model_json import IMAGE, ModelSpec

_STACK = "image_stack"


def add_preprocessing(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Put normalising, upsampling and joining in front of a finished graph.

    The inputs become ``image (N, S, S, 3) uint8``, the maps in use ``(N, maps, 64, 64) uint8`` and
    ``keypoints (N, 108) float32``.

    Args:
        model: From :func:`mtn_core.export.onnx_graph.finish_graph`; left as it is.
        spec: Says what the inputs are.

    Returns:
        A new, checked model.
    """
    model = copy(model)
    graph = model.graph
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == IMAGE:
                node.input[i] = _STACK
    nodes = _image_nodes(graph, spec)
    if map_keys(spec):
        nodes += _map_nodes(graph, spec)
        nodes.append(helper.make_node("Concat", ["rgb", "maps_large"], [_STACK], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["rgb"], [_STACK]))
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *body])
    del graph.input[:]
    graph.input.extend(
        helper.make_tensor_value_info(
            name,
            TensorProto.UINT8 if tensor.dtype == "uint8" else TensorProto.FLOAT,
            list(tensor.shape),
        )
        for name, tensor in spec.pixel_inputs.items()
    )
    return check(model)


def _image_nodes(graph: onnx.GraphProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    mean, std = (np.array(v, np.float32) for v in (spec.image_mean, spec.image_std))
    _constant(graph, "rgb_scale", (1 / (255 * std)).reshape(1, 3, 1, 1))
    _constant(graph, "rgb_shift", (-mean / std).reshape(1, 3, 1, 1))
    return [
        helper.make_node("Cast", [IMAGE], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "rgb_scale"], ["planes_scaled"]),
        helper.make_node("Add", ["planes_scaled", "rgb_shift"], ["rgb"]),
    ]


def _map_nodes(graph: onnx.GraphProto, spec: ModelSpec) -> list[onnx.NodeProto]:
    keys = map_keys(spec)
    _, height, width = spec.stack_shape
    _constant(graph, "map_scale", np.array(1 / (255 * spec.map_std), np.float32))
    _constant(graph, "map_shift", np.array(-spec.map_mean / spec.map_std, np.float32))
    scales = [1, 1, height / spec.map_size, width / spec.map_size]
    _constant(graph, "map_scales", np.array(scales, np.float32))
    # Resize takes a region of interest even where its mode ignores it.
    _constant(graph, "no_region", np.array([], np.float32))
    nodes = []
    if len(keys) > 1:
        nodes.append(helper.make_node("Concat", keys, ["maps"], axis=1))
    nodes += [
        helper.make_node("Cast", ["maps" if nodes else keys[0]], ["maps_float"], to=1),
        helper.make_node("Mul", ["maps_float", "map_scale"], ["maps_scaled"]),
        helper.make_node("Add", ["maps_scaled", "map_shift"], ["maps_normal"]),
        helper.make_node(
            "Resize",
            ["maps_normal", "no_region", "map_scales"],
            ["maps_large"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
    ]
    return nodes


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))

"""Resizing, sampling, regions and boxes against ONNX Runtime, and files of images against Pillow's pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def resize(agrees, x, *, scales=None, sizes=None, roi=None, constant=True, opset=19, **attributes):
    """Resize with the inputs that are given; the others are left out."""
    feeds = {"x": x}
    inputs = ["x", "", "", ""]
    for place, (name, array) in enumerate((("roi", roi), ("scales", scales), ("sizes", sizes)), 1):
        if array is not None:
            feeds[name] = np.asarray(array, np.int64 if name == "sizes" else np.float32)
            inputs[place] = name
    known = [name for name in feeds if name != "x"] if constant else ()
    while not inputs[-1]:
        inputs.pop()
    agrees("Resize", feeds, known, inputs=inputs, opset=opset, **attributes)


def as_inputs(lengths, scales, by_sizes):
    if not by_sizes:
        return {"scales": [1, 1, *scales]}
    return {"sizes": [1, 2, *(max(1, int(size * scale)) for size, scale in zip(lengths, scales, strict=True))]}


PLACES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@given(
    st.sampled_from(PLACES), st.sampled_from(ROUNDINGS), st.tuples(*[st.sampled_from([0.5, 0.6, 1, 1.7, 2, 3])] * 2),
    st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=18)
def test_resize_to_the_nearest(agrees, places, rounding, scales, by_sizes, constant):
    assume(places != "half_pixel_symmetric" or 0.6 not in scales)  # there places fall between two, but for rounding
    lengths = (5, 8)
    given_ = as_inputs(lengths, scales, by_sizes)
    attributes = {"coordinate_transformation_mode": places, "nearest_mode": rounding}
    resize(agrees, normal(1, 2, *lengths), constant=constant, mode="nearest", **given_, **attributes)


@given(
    st.sampled_from(PLACES), st.sampled_from(["linear", "cubic"]),
    st.tuples(*[st.sampled_from([0.5, 0.75, 1, 1.5, 2, 3])] * 2), st.booleans(), st.booleans(), st.integers(0, 1),
)  # fmt: skip
@settings(max_examples=20)
def test_resize_by_interpolation(agrees, places, mode, scales, by_sizes, constant, exclude_outside):
    lengths = (4, 8)
    given_ = as_inputs(lengths, scales, by_sizes)
    attributes = {"coordinate_transformation_mode": places}
    if mode == "cubic":
        attributes |= {"exclude_outside": exclude_outside, "cubic_coeff_a": -0.5}
    resize(agrees, normal(1, 2, *lengths), constant=constant, mode=mode, **given_, **attributes)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(3, 5), (10, 4), (2, 16)])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("exclude_outside", [0, 1])
def test_resize_with_antialias(agrees, mode, sizes, constant, exclude_outside):
    resize(
        agrees, normal(1, 2, 8, 11), sizes=[1, 2, *sizes], constant=constant, mode=mode, antialias=1, rtol=1e-4,
        exclude_outside=exclude_outside,
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("constant", [True, False])
def test_resize_of_some_axes(agrees, policy, constant):
    resize(
        agrees, normal(2, 3, 6, 9), sizes=[9, 12], constant=constant, axes=[2, 3], mode="linear", opset=18,
        keep_aspect_ratio_policy=policy,
    )  # fmt: skip
    resize(agrees, normal(2, 3, 6, 9), scales=[2, 1.5], constant=constant, axes=[3, 2], mode="nearest", opset=18)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("constant", [True, False])
def test_resize_of_a_region(agrees, mode, constant):
    roi = [0, 0, 0.2, -0.1, 1, 1, 0.8, 1.2]
    resize(
        agrees, normal(1, 2, 8, 9), roi=roi, sizes=[1, 2, 5, 7], constant=constant, mode=mode, extrapolation_value=7.0,
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7), (1, 2, 3, 4, 5)])
def test_resize_of_any_rank(agrees, shape):
    """The whole tensor, channels too, where there is no more than three axes to interpolate in ONNX Runtime."""
    scales = [1.0] * len(shape)
    scales[-1] = 2.5
    resize(agrees, normal(*shape), scales=scales, mode="nearest")
    if len(shape) in (3, 5):
        resize(agrees, normal(*shape), scales=scales, mode="linear")


def test_resize_along_the_channels(agrees):
    resize(agrees, normal(2, 3, 4, 5), scales=[1, 2, 1, 3], mode="nearest")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16, np.float64])
def test_resize_keeps_the_type(agrees, dtype):
    x = (normal(1, 2, 4, 6) * 20 + 40).astype(dtype)
    for axis in (2, 3):
        wide = np.repeat(x, 2, axis)
        scales = [1, 1, 1, 1]
        scales[axis] = 2
        resize(
            agrees,
            x,
            scales=scales,
            wanted=[wide],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )


def test_resize_of_doubles_is_in_double(agrees):
    x = normal(1, 1, 1, 4, dtype=np.float64)
    place = np.clip((np.arange(6) + 0.5) / 1.5 - 0.5, 0, 3)
    wanted = np.interp(place, np.arange(4), x[0, 0, 0]).reshape(1, 1, 1, 6)
    resize(agrees, x, scales=[1, 1, 1, 1.5], wanted=[wanted], mode="linear", rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 2.5, 1)])
def test_upsample_and_the_first_resize(agrees, mode, scales):
    x, array = normal(1, 2, 4, 6), np.array(scales, np.float32)
    agrees("Upsample", {"x": x}, opset=7, mode=mode, scales=list(map(float, scales)))
    agrees("Upsample", {"x": x, "s": array}, ("s",), opset=9, mode=mode)
    agrees("Resize", {"x": x, "s": array}, opset=10, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("places", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
def test_resize_to_the_size_of_another_image(model_agrees, mode, places):
    """As PyTorch exports interpolate(x, y.shape[2:]): batch and channels are of the shape of the image itself."""
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
    g (float[n, c, h, w] x, float[n, c, i, j] y) => (float[n, c, k, l] z) {{
      first = Shape <start = 0, end = 2> (x)
      last = Shape <start = 2> (y)
      sizes = Concat <axis = 0> (first, last)
      z = Resize <mode = "{mode}", coordinate_transformation_mode = "{places}", nearest_mode = "floor"> (x, , , sizes)
    }}"""
    for lengths in ((3, 9), (16, 12), (1, 1)):
        model_agrees(text, {"x": normal(2, 3, 8, 6), "y": normal(2, 3, *lengths)})


# --- sampling ---


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("axes", [2, 3])
def test_grid_sample(agrees, padding_mode, mode, align_corners, axes):
    if axes == 3 and mode == "cubic":
        return  # ONNX Runtime has it for images of two axes alone
    lengths, out = (5, 6, 4)[:axes], (4, 3, 5)[:axes]
    grid = np.random.default_rng(1).uniform(-1.6, 1.6, (2, *out, axes)).astype(np.float32)
    agrees(
        "GridSample", {"x": normal(2, 3, *lengths), "g": grid}, opset=20, mode=mode, padding_mode=padding_mode,
        align_corners=align_corners, rtol=1e-4,
    )  # fmt: skip
    if axes == 2 and mode != "nearest":
        older = {"linear": "bilinear", "cubic": "bicubic"}[mode]
        agrees(
            "GridSample", {"x": normal(2, 3, *lengths), "g": grid}, opset=16, mode=older, padding_mode=padding_mode,
            align_corners=align_corners, rtol=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_affine_grid(agrees, align_corners, size):
    axes = len(size) - 2
    feeds = {"t": normal(2, axes, axes + 1), "s": np.array(size, np.int64)}
    agrees("AffineGrid", feeds, ("s",), opset=20, align_corners=align_corners)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("opset", [10, 16])
def test_roi_align(agrees, mode, sampling_ratio, opset):
    draw = np.random.default_rng(0)
    corners = np.sort(draw.uniform(-2, 22, (6, 2, 2)), axis=1).reshape(6, 4).astype(np.float32)
    feeds = {"x": np.abs(normal(2, 3, 10, 12)), "r": corners, "b": draw.integers(0, 2, 6)}
    places = (
        [{}]
        if opset == 10
        else [{"coordinate_transformation_mode": one} for one in ("half_pixel", "output_half_pixel")]
    )
    for attributes in places:
        agrees(
            "RoiAlign", feeds, opset=opset, mode=mode, sampling_ratio=sampling_ratio, output_height=3, output_width=2,
            spatial_scale=0.5, **attributes,
        )  # fmt: skip


# --- boxes ---


@given(
    st.integers(0, 6), st.integers(0, 10), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([None, 0.0, 0.4]),
    st.integers(0, 1), st.booleans(),
)  # fmt: skip
@settings(max_examples=18)
def test_non_max_suppression(agrees, seed, most, overlap, least, center, ties):
    draw = np.random.default_rng(seed)
    boxes = draw.uniform(0, 10, (2, 12, 4)).astype(np.float32)
    scores = draw.uniform(0, 1, (2, 3, 12)).astype(np.float32)
    if ties:
        scores, boxes = np.round(scores, 1), np.round(boxes)
    feeds = {"b": boxes, "s": scores, "m": np.array([most], np.int64), "o": np.array([overlap], np.float32)}
    if least is not None:
        feeds["l"] = np.array([least], np.float32)
    agrees("NonMaxSuppression", feeds, ("m", "o"), center_point_box=center)


def test_non_max_suppression_of_nothing(agrees):
    boxes, scores = normal(1, 5, 4), normal(1, 2, 5)
    agrees("NonMaxSuppression", {"b": boxes, "s": scores})
    feeds = {"b": boxes[:, :0], "s": scores[:, :, :0], "m": np.array([3], np.int64)}
    agrees("NonMaxSuppression", feeds, wanted=[np.zeros((0, 3), np.int64)])


# --- columns and files ---


@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]}])
def test_col2im(agrees, attributes):
    image, block = (6, 7), (2, 3)
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0] * 4)
    count = [(image[i] + pads[i] + pads[i + 2] - (block[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)]
    feeds = {"x": normal(2, 3 * 6, count[0] * count[1]), "i": np.array(image, np.int64), "b": np.array(block, np.int64)}
    agrees("Col2Im", feeds, ("i", "b"), **attributes)


def _png(pixels):
    """A PNG, written out by the rules of its format."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    written = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        written += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return written


@pytest.mark.parametrize("pixel_format", ["RGB", "BGR", "Grayscale"])
@pytest.mark.parametrize("written", ["png", "pnm"])
def test_image_decoder(agrees, pixel_format, written):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    data = _png(pixels) if written == "png" else b"P6\n7 5\n255\n" + pixels.tobytes()
    wanted = {"RGB": pixels, "BGR": pixels[:, :, ::-1]}.get(pixel_format)
    if wanted is None:  # as Pillow makes gray of colours
        gray = (pixels.astype(np.int64) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
        wanted = gray.astype(np.uint8)[:, :, None]
    agrees(
        "ImageDecoder",
        {"x": np.frombuffer(data, np.uint8)},
        wanted=[np.ascontiguousarray(wanted)],
        pixel_format=pixel_format,
    )

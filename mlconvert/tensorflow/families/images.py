"""Images: resizing, sampling, regions of interest, boxes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.kernels import DOUBLES, NUMBERS, length, wide, widened
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.resizing import resize, resize_10, upsample_1, upsample_7
from mlconvert.tensorflow.sampling import grid_sample, max_roi_pool, roi_align, roi_align_10


def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_boxes_per_class: Any = None,
    iou_threshold: Any = None,
    score_threshold: Any = None,
    *,
    center_point_box: int = 0,
) -> Any:
    """The rows [batch, class, box] of the boxes that are kept: by batch, by class, the best scores first."""
    if max_output_boxes_per_class is None:
        return tf.zeros([0, 3], tf.int64)
    if center_point_box:
        x, y, width, height = tf.unstack(boxes, num=4, axis=-1)
        boxes = tf.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], -1)
    count, classes = tf.shape(boxes)[1], length(scores, 1)
    most = tf.reshape(tf.minimum(max_output_boxes_per_class, tf.cast(count, tf.int64)), [])
    most = tf.cast(tf.maximum(most, 0), tf.int32)
    overlap = tf.constant(0.0) if iou_threshold is None else tf.reshape(iou_threshold, [])
    least = tf.constant(float("-inf")) if score_threshold is None else tf.reshape(score_threshold, [])

    def kept(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        number, one = item
        chosen, valid = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes[number // classes], scores=one, max_output_size=most, iou_threshold=overlap,
            score_threshold=least, pad_to_max_output_size=True,
        )  # fmt: skip
        return tf.where(tf.range(most) < valid, chosen, -1)

    flat = tf.reshape(scores, tf.stack([-1, count]))
    numbers = tf.range(tf.shape(flat)[0])
    chosen = tf.map_fn(kept, (numbers, flat), fn_output_signature=tf.TensorSpec([None], tf.int32))
    places = tf.where(chosen >= 0)
    number = places[:, 0]
    many = tf.cast(classes, tf.int64)
    rows = tf.stack([number // many, number % many, tf.cast(tf.gather_nd(chosen, places), tf.int64)], 1)
    return tf.ensure_shape(rows, [None, 3])


# --- grids ---


def affine_grid(theta: Any, size: Any, *, align_corners: int = 0) -> Any:
    """The places [N, …, axes] that an affine map of images takes its samples at, from -1 to 1, columns first."""
    axes = theta.shape[1] or (size.shape[0] and size.shape[0] - 2)
    if axes is None:
        made = [lambda axes=axes: _affine_grid(theta, size, axes, align_corners) for axes in (2, 3)]
        return tf.cond(tf.equal(tf.size(size), 4), *made)
    return _affine_grid(theta, size, axes, align_corners)


def _affine_grid(theta: tf.Tensor, size: tf.Tensor, axes: int, align_corners: int) -> tf.Tensor:
    real = wide(theta.dtype, DOUBLES)
    along = []
    for axis in range(axes - 1, -1, -1):  # x, y, z
        length_of = tf.cast(size[axis + 2], tf.int32)
        index, count = tf.cast(tf.range(length_of), real), tf.cast(length_of, real)
        ends = tf.math.divide_no_nan(2 * index, count - 1) - tf.cast(count > 1, real)
        along.append(ends if align_corners else (2 * index + 1) / count - 1)
    mesh = tf.meshgrid(*reversed(along), indexing="ij")
    base = tf.stack([*reversed(mesh), tf.ones_like(mesh[0])], -1)
    flat = tf.matmul(tf.reshape(base, [1, -1, axes + 1]), tf.cast(theta, real), transpose_b=True)
    shape = tf.concat([tf.shape(theta)[:1], tf.shape(mesh[0]), [axes]], 0)
    grid = tf.reshape(flat, shape)
    return tf.cast(tf.ensure_shape(grid, [theta.shape[0], *mesh[0].shape, axes]), theta.dtype)


# --- columns ---


def col2im(
    x: Any,
    image_shape: Any,
    block_shape: Any,
    *,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    """Adds up blocks [N, C x block, places] where they overlap in images [N, C, …]."""
    rank = image_shape.shape[0] or block_shape.shape[0] or len(dilations or strides or (pads or ())[::2])
    if not rank:
        raise node.refuse("does not say how many axes its images have")
    dilations, strides, pads = dilations or (1,) * rank, strides or (1,) * rank, pads or (0,) * (2 * rank)
    image = [tf.cast(image_shape[i], tf.int32) for i in range(rank)]
    block = [tf.cast(block_shape[i], tf.int32) for i in range(rank)]
    place: Any = 0  # [block…, places…]: where in the image each element of a block belongs
    inside: Any = True
    counts = []
    for i in range(rank):
        extent = (block[i] - 1) * dilations[i] + 1
        count = (image[i] + pads[i] + pads[i + rank] - extent) // strides[i] + 1
        counts.append(count)
        along = tf.range(block[i])[:, None] * dilations[i] + tf.range(count) * strides[i] - pads[i]
        lengths = [1] * (2 * rank)
        lengths[i], lengths[i + rank] = block[i], count
        along = tf.reshape(along, tf.stack(lengths))
        place = place * image[i] + along
        inside &= (along >= 0) & (along < image[i])
    places = tf.reshape(tf.where(inside, place, -1), [-1])  # sums leave out what is negative
    shape, size, dtype = tf.shape(x), tf.reduce_prod(tf.stack(image)), x.dtype
    blocks = tf.reduce_prod(tf.stack(block))
    apart = tf.reshape(x, tf.stack([shape[0], shape[1] // blocks, -1]))
    summed = widened(
        NUMBERS, lambda data: tf.math.unsorted_segment_sum(tf.transpose(data, (2, 0, 1)), places, size), apart
    )
    result = tf.reshape(tf.transpose(summed, (1, 2, 0)), tf.stack([shape[0], shape[1] // blocks, *image]))
    return tf.ensure_shape(tf.cast(result, dtype), [None] * (rank + 2))


# --- files ---

_BYTES = tuple(bytes([value]) for value in range(256))
_HEADER = 64  # bytes that a PNM's header has at most here
_LUMA = (19595, 38470, 7471)  # of ITU-R BT.601, in units of 2 ** -16, as Pillow converts to gray


def image_decoder(encoded: Any, *, pixel_format: str = "RGB", node: Node) -> Any:
    """JPEG, PNG, BMP, WebP, GIF and PNM (P6); the kernel's error names what else the bytes are at run time."""
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise node.refuse(f"has the pixel format '{pixel_format}', which ONNX does not define")
    data = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), tf.cast(encoded, tf.int32)))
    start = tf.strings.substr(data, 0, 2)
    image = tf.case(
        [
            (tf.equal(start, b"\xff\xd8"), lambda: tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")),
            (tf.equal(start, b"P6"), lambda: _pnm(encoded)),
        ],
        default=lambda: tf.io.decode_image(data, 3, expand_animations=False),
        exclusive=True,
    )
    image = tf.ensure_shape(image, [None, None, 3])
    if pixel_format == "BGR":
        return tf.reverse(image, [2])
    if pixel_format == "Grayscale":
        total = tf.reduce_sum(tf.cast(image, tf.int32) * tf.constant(_LUMA), 2, keepdims=True)
        return tf.cast(tf.bitwise.right_shift(total + (1 << 15), 16), tf.uint8)
    return image


def _pnm(encoded: tf.Tensor) -> tf.Tensor:
    """A portable pixmap: its lengths in text, then the pixels."""
    head = encoded[:_HEADER]
    text = tf.gather(tf.constant(_BYTES), tf.cast(tf.where(head < 128, head, tf.zeros_like(head)), tf.int32))
    lengths = tf.strings.regex_replace(tf.strings.reduce_join(text), r"(?s)^P6\s+(\d+)\s+(\d+)\s+255\s.*$", r"\1 \2")
    width, height = tf.unstack(tf.strings.to_number(tf.strings.split(lengths)[:2], tf.int32), num=2)
    return tf.reshape(encoded[-(width * height * 3) :], tf.stack([height, width, 3]))


OPERATORS: tuple[Operator, ...] = (
    Operator("Resize", 10, resize_10, until=10, layout="last"),
    Operator("Resize", 11, resize, layout="last"),
    Operator("Upsample", 1, upsample_1, until=6, layout="last"),
    Operator("Upsample", 7, upsample_7, until=8, layout="last"),
    Operator("Upsample", 9, resize_10, until=9, layout="last"),
    Operator("NonMaxSuppression", 10, non_max_suppression),
    Operator("AffineGrid", 20, affine_grid),
    Operator("GridSample", 16, grid_sample, layout="last"),
    Operator("RoiAlign", 10, roi_align_10, until=15, layout="last"),
    Operator("RoiAlign", 16, roi_align, layout="last"),
    Operator("MaxRoiPool", 1, max_roi_pool, layout="last"),
    Operator("Col2Im", 18, col2im),
    Operator("ImageDecoder", 20, image_decoder, note="JPEG, PNG, BMP, WebP, GIF and PNM; no JPEG 2000, no TIFF"),
)

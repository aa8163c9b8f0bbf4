"""The cases that do not pass, each with its reason. A case that is here and passes is told by the test as well."""

from __future__ import annotations

SIGNATURE = "its input or output is a sequence or an optional, which no signature of a SavedModel can have"
RANDOM = "its values are random, and the suite's come from another generator"
BFLOAT16 = "computed in float32 and rounded once; the reference rounds each step to the half type"
E8M0 = "TensorFlow has no type FLOAT8E8M0"
GRADIENT = "Gradient is not lowered: a served model does not train"
DECODER = "TensorFlow has no decoder of this kind of image"
RUNTIME = "ONNX's reference and ONNX Runtime disagree; mlconvert answers as ONNX Runtime"
AXES = "how many axes its images have is the length of an input"
SINGLE = "the suite's answer is that of single precision, which is off where it should be 0"

NOT_PASSING: dict[str, str] = {
    "test_attention_3d_causal_bf16": BFLOAT16,
    "test_attention_3d_causal_bf16_expanded": BFLOAT16,
    "test_attention_4d_attn_mask_causal_bf16": BFLOAT16,
    "test_attention_4d_attn_mask_causal_bf16_expanded": BFLOAT16,
    "test_attention_4d_causal_bf16": BFLOAT16,
    "test_attention_4d_causal_bf16_expanded": BFLOAT16,
    "test_attention_4d_causal_fp16_expanded": BFLOAT16,
    "test_attention_4d_causal_padded_kv_bf16": BFLOAT16,
    "test_attention_4d_causal_padded_kv_bf16_expanded": BFLOAT16,
    "test_attention_4d_padded_kv_bf16": BFLOAT16,
    "test_attention_4d_padded_kv_bf16_expanded": BFLOAT16,
    "test_bernoulli": RANDOM,
    "test_bernoulli_double": RANDOM,
    "test_bernoulli_double_expanded": RANDOM,
    "test_bernoulli_expanded": RANDOM,
    "test_bernoulli_seed": RANDOM,
    "test_bernoulli_seed_expanded": RANDOM,
    "test_cast_e8m0_FLOAT16_to_FLOAT8E8M0": E8M0,
    "test_cast_e8m0_FLOAT8E8M0_to_FLOAT": E8M0,
    "test_cast_e8m0_FLOAT8E8M0_to_FLOAT16": E8M0,
    "test_cast_e8m0_FLOAT_to_FLOAT8E8M0": E8M0,
    "test_gradient_of_add": GRADIENT,
    "test_gradient_of_add_and_mul": GRADIENT,
    "test_identity_opt": SIGNATURE,
    "test_identity_sequence": SIGNATURE,
    "test_if_opt": SIGNATURE,
    "test_if_seq": SIGNATURE,
    "test_image_decoder_decode_jpeg2k_rgb": DECODER,
    "test_image_decoder_decode_tiff_rgb": DECODER,
    "test_loop13_seq": SIGNATURE,
    "test_loop16_seq_none": SIGNATURE,
    "test_maxunpool_export_with_output_shape": RUNTIME,
    "test_optional_get_element_optional_sequence": SIGNATURE,
    "test_optional_get_element_optional_tensor": SIGNATURE,
    "test_optional_get_element_sequence": SIGNATURE,
    "test_optional_has_element_empty_optional_input": SIGNATURE,
    "test_optional_has_element_optional_input": SIGNATURE,
    "test_optional_has_element_tensor_input": SIGNATURE,
    "test_resize_downsample_scales_cubic_align_corners": RUNTIME,
    "test_resize_downsample_scales_linear_align_corners": RUNTIME,
    "test_sequence_insert_at_back": SIGNATURE,
    "test_sequence_insert_at_front": SIGNATURE,
    "test_sequence_map_add_1_sequence_1_tensor": SIGNATURE,
    "test_sequence_map_add_1_sequence_1_tensor_expanded": SIGNATURE,
    "test_sequence_map_add_2_sequences": SIGNATURE,
    "test_sequence_map_add_2_sequences_expanded": SIGNATURE,
    "test_sequence_map_extract_shapes": SIGNATURE,
    "test_sequence_map_extract_shapes_expanded": SIGNATURE,
    "test_sequence_map_identity_1_sequence": SIGNATURE,
    "test_sequence_map_identity_1_sequence_1_tensor": SIGNATURE,
    "test_sequence_map_identity_1_sequence_1_tensor_expanded": SIGNATURE,
    "test_sequence_map_identity_1_sequence_expanded": SIGNATURE,
    "test_sequence_map_identity_2_sequences": SIGNATURE,
    "test_sequence_map_identity_2_sequences_expanded": SIGNATURE,
    "test_split_to_sequence_1": SIGNATURE,
    "test_split_to_sequence_2": SIGNATURE,
    "test_split_to_sequence_nokeepdims": SIGNATURE,
    "test_training_dropout": RANDOM,
    "test_training_dropout_default": RANDOM,
    "test_training_dropout_default_mask": RANDOM,
    "test_training_dropout_mask": RANDOM,
}

IN_MODE: dict[str, dict[str, str]] = {
    "stated": {"test_causal_conv_with_state_silu_fp16_expanded": BFLOAT16},
    "dynamic": {"test_col2im": AXES, "test_col2im_5d": AXES},
    "double": {"test_dft_inverse": SINGLE, "test_dft_inverse_opset19": SINGLE},
}
"""Those that do not pass in one mode only."""


def reason(case: str, mode: str) -> str | None:
    """Why a case does not pass; None where it does."""
    return NOT_PASSING.get(case) or IN_MODE[mode].get(case)


def rows() -> list[str]:
    """The table of docs/explanation/conformance.md: a row for each reason."""
    found: dict[str, list[str]] = {}
    for mode, table in {"": NOT_PASSING, **IN_MODE}.items():
        for case, why in table.items():
            found.setdefault(why + _ONLY[mode], []).append(case.removeprefix("test_"))
    return [f"| {why} | {', '.join(f'`{case}`' for case in sorted(cases))} |" for why, cases in found.items()]


_ONLY = {
    "": "",
    "stated": " (with the lengths stated only)",
    "dynamic": " (with `DYNAMIC=1` only)",
    "double": " (with `DOUBLE=1` only)",
}

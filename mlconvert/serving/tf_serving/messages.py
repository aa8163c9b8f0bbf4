"""The messages of TensorFlow Serving and of SavedModels, without TensorFlow and without its generated code.

They are built from the tables below, in a pool of their own: nothing clashes with the messages that `tensorflow` or
`tensorflow_serving` register when they are imported in the same process, and both read what the other writes. A field
that is not in the tables is kept as it came. A test holds every row against the real messages; those of which no Python
package has the real ones (MonitoringConfig, BatchingParameters) follow the server's own proto files.

A row is `number name type`: `*` behind the type for a repeated field, `?` for one that can be absent,
`map<key, value>` for a map, and `@name` for a member of a oneof.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mlconvert.errors import RepositoryInvalid

__all__ = ["DATA_TYPES", "METHODS", "message", "parse_text", "pool", "type_name"]

DATA_TYPES: Mapping[str, int] = {
    "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
    "DT_STRING": 7, "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_QINT8": 11, "DT_QUINT8": 12, "DT_QINT32": 13,
    "DT_BFLOAT16": 14, "DT_QINT16": 15, "DT_QUINT16": 16, "DT_UINT16": 17, "DT_COMPLEX128": 18, "DT_HALF": 19,
    "DT_RESOURCE": 20, "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23, "DT_FLOAT8_E5M2": 24,
    "DT_FLOAT8_E4M3FN": 25, "DT_FLOAT8_E4M3FNUZ": 26, "DT_FLOAT8_E4M3B11FNUZ": 27, "DT_FLOAT8_E5M2FNUZ": 28,
    "DT_INT4": 29, "DT_UINT4": 30, "DT_INT2": 31, "DT_UINT2": 32, "DT_FLOAT4_E2M1FN": 33,
}  # fmt: skip

ENUMS: Mapping[str, Mapping[str, int]] = {
    "tensorflow.DataType": DATA_TYPES,
    "tensorflow.error.Code": {
        "OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
        "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "UNAUTHENTICATED": 16, "RESOURCE_EXHAUSTED": 8,
        "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "INTERNAL": 13,
        "UNAVAILABLE": 14, "DATA_LOSS": 15,
    },
    "tensorflow.serving.ModelType": {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2},
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
    },
}  # fmt: skip

MESSAGES: Mapping[str, str] = {
    # --- TensorFlow's own: tensors, examples, SavedModels ---
    "tensorflow.TensorShapeProto": "2 dim Dim*, 3 unknown_rank bool",
    "tensorflow.TensorShapeProto.Dim": "1 size int64, 2 name string",
    "tensorflow.TensorProto": (
        "1 dtype DataType, 2 tensor_shape TensorShapeProto, 3 version_number int32, 4 tensor_content bytes, "
        "13 half_val int32*, 5 float_val float*, 6 double_val double*, 7 int_val int32*, 8 string_val bytes*, "
        "9 scomplex_val float*, 10 int64_val int64*, 11 bool_val bool*, 12 dcomplex_val double*, "
        "16 uint32_val uint32*, 17 uint64_val uint64*, 18 float8_val bytes"
    ),
    "tensorflow.NamedTensorProto": "1 name string, 2 tensor TensorProto",
    "tensorflow.BytesList": "1 value bytes*",
    "tensorflow.FloatList": "1 value float*",
    "tensorflow.Int64List": "1 value int64*",
    "tensorflow.Feature": "1 bytes_list BytesList @kind, 2 float_list FloatList @kind, 3 int64_list Int64List @kind",
    "tensorflow.Features": "1 feature map<string, Feature>",
    "tensorflow.Example": "1 features Features",
    "tensorflow.TensorInfo": (
        "1 name string @encoding, 4 coo_sparse CooSparse @encoding, 5 composite_tensor CompositeTensor @encoding, "
        "2 dtype DataType, 3 tensor_shape TensorShapeProto"
    ),
    "tensorflow.TensorInfo.CooSparse": (
        "1 values_tensor_name string, 2 indices_tensor_name string, 3 dense_shape_tensor_name string"
    ),
    "tensorflow.TensorInfo.CompositeTensor": "2 components TensorInfo*",
    "tensorflow.SignatureDef": (
        "1 inputs map<string, TensorInfo>, 2 outputs map<string, TensorInfo>, 3 method_name string, "
        "4 defaults map<string, TensorProto>"
    ),
    "tensorflow.SavedModel": "1 saved_model_schema_version int64, 2 meta_graphs MetaGraphDef*",
    "tensorflow.MetaGraphDef": (
        "1 meta_info_def MetaInfoDef, 2 graph_def GraphDef, 5 signature_def map<string, SignatureDef>, "
        "6 asset_file_def AssetFileDef*"
    ),
    "tensorflow.MetaGraphDef.MetaInfoDef": "4 tags string*, 5 tensorflow_version string",
    "tensorflow.AssetFileDef": "1 tensor_info TensorInfo, 2 filename string",
    "tensorflow.GraphDef": "1 node NodeDef*, 2 library FunctionDefLibrary, 4 versions VersionDef",
    "tensorflow.VersionDef": "1 producer int32, 2 min_consumer int32, 3 bad_consumers int32*",
    "tensorflow.NodeDef": "1 name string, 2 op string",
    "tensorflow.FunctionDefLibrary": "1 function FunctionDef*",
    "tensorflow.FunctionDef": "1 signature OpDef, 3 node_def NodeDef*",
    "tensorflow.OpDef": "1 name string",
    # --- requests and answers ---
    "tensorflow.serving.ModelSpec": (
        "1 name string, 2 version google.protobuf.Int64Value @version_choice, 4 version_label string @version_choice, "
        "3 signature_name string"
    ),
    "tensorflow.serving.PredictRequest": (
        "1 model_spec ModelSpec, 2 inputs map<string, TensorProto>, 3 output_filter string*"
    ),
    "tensorflow.serving.PredictResponse": "2 model_spec ModelSpec, 1 outputs map<string, TensorProto>",
    "tensorflow.serving.SignatureDefMap": "1 signature_def map<string, SignatureDef>",
    "tensorflow.serving.GetModelMetadataRequest": "1 model_spec ModelSpec, 2 metadata_field string*",
    "tensorflow.serving.GetModelMetadataResponse": (
        "1 model_spec ModelSpec, 2 metadata map<string, google.protobuf.Any>"
    ),
    "tensorflow.serving.StatusProto": "1 error_code tensorflow.error.Code, 2 error_message string",
    "tensorflow.serving.GetModelStatusRequest": "1 model_spec ModelSpec",
    "tensorflow.serving.ModelVersionStatus": "1 version int64, 2 state State, 3 status StatusProto",
    "tensorflow.serving.GetModelStatusResponse": "1 model_version_status ModelVersionStatus*",
    "tensorflow.serving.ReloadConfigRequest": "1 config ModelServerConfig, 2 metric_names string*",
    "tensorflow.serving.ReloadConfigResponse": "1 status StatusProto, 2 metric Metric*",
    "tensorflow.serving.Metric": "1 name string, 2 int64_value_increase int64 @value_increase",
    # --- models.config, monitoring and batching files ---
    "tensorflow.serving.ModelServerConfig": (
        "1 model_config_list ModelConfigList @config, 2 custom_model_config google.protobuf.Any @config"
    ),
    "tensorflow.serving.ModelConfigList": "1 config ModelConfig*",
    "tensorflow.serving.ModelConfig": (
        "1 name string, 2 base_path string, 3 model_type ModelType, 4 model_platform string, "
        "7 model_version_policy FileSystemStoragePathSourceConfig.ServableVersionPolicy, "
        "8 version_labels map<string, int64>, 6 logging_config LoggingConfig"
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig": "",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy": (
        "100 latest Latest @policy_choice, 101 all All @policy_choice, 102 specific Specific @policy_choice"
    ),
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest": "1 num_versions uint32",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.All": "",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific": "1 versions int64*",
    "tensorflow.serving.LoggingConfig": (
        "1 log_collector_config LogCollectorConfig, 2 sampling_config SamplingConfig, "
        "3 custom_logging_config google.protobuf.Any"
    ),
    "tensorflow.serving.LogCollectorConfig": "1 type string, 2 filename_prefix string",
    "tensorflow.serving.SamplingConfig": (
        "1 sampling_rate double, 3 per_task_sampling_configs PerTaskSamplingConfig*, 2 attributes int32"
    ),
    "tensorflow.serving.PerTaskSamplingConfig": "1 dc string, 2 task_index int32?, 3 sampling_rate double",
    "tensorflow.serving.MonitoringConfig": "1 prometheus_config PrometheusConfig",
    "tensorflow.serving.PrometheusConfig": "1 enable bool, 2 path string",
    "tensorflow.serving.BatchingParameters": (
        "1 max_batch_size google.protobuf.Int64Value, 2 batch_timeout_micros google.protobuf.Int64Value, "
        "3 max_enqueued_batches google.protobuf.Int64Value, 4 num_batch_threads google.protobuf.Int64Value, "
        "5 thread_pool_name google.protobuf.StringValue, 6 allowed_batch_sizes int64*, "
        "7 pad_variable_length_inputs bool, 8 enable_large_batch_splitting google.protobuf.BoolValue, "
        "9 max_execution_batch_size google.protobuf.Int64Value"
    ),
    # --- what a warm-up file holds ---
    "tensorflow.serving.PredictionLog": (
        "1 log_metadata LogMetadata, 2 classify_log ClassifyLog @log_type, 3 regress_log RegressLog @log_type, "
        "6 predict_log PredictLog @log_type, 7 predict_streamed_log PredictStreamedLog @log_type, "
        "4 multi_inference_log MultiInferenceLog @log_type, 5 session_run_log SessionRunLog @log_type"
    ),
    "tensorflow.serving.LogMetadata": (
        "1 model_spec ModelSpec, 2 sampling_config SamplingConfig, 3 saved_model_tags string*, "
        "4 timestamp_secs int64, 5 dc string"
    ),
    "tensorflow.serving.PredictLog": "1 request PredictRequest, 2 response PredictResponse",
    "tensorflow.serving.PredictStreamedLog": "1 request PredictRequest*, 2 response PredictResponse*",
    "tensorflow.serving.ClassifyLog": "1 request ClassificationRequest, 2 response ClassificationResponse",
    "tensorflow.serving.RegressLog": "1 request RegressionRequest, 2 response RegressionResponse",
    "tensorflow.serving.MultiInferenceLog": "1 request MultiInferenceRequest, 2 response MultiInferenceResponse",
    "tensorflow.serving.SessionRunLog": "1 request SessionRunRequest, 2 response SessionRunResponse",
    "tensorflow.serving.ClassificationRequest": "1 model_spec ModelSpec, 2 input Input",
    "tensorflow.serving.ClassificationResponse": "2 model_spec ModelSpec, 1 result ClassificationResult",
    "tensorflow.serving.ClassificationResult": "1 classifications Classifications*",
    "tensorflow.serving.Classifications": "1 classes Class*",
    "tensorflow.serving.Class": "1 label string, 2 score float",
    "tensorflow.serving.RegressionRequest": "1 model_spec ModelSpec, 2 input Input",
    "tensorflow.serving.RegressionResponse": "2 model_spec ModelSpec, 1 result RegressionResult",
    "tensorflow.serving.RegressionResult": "1 regressions Regression*",
    "tensorflow.serving.Regression": "1 value float",
    "tensorflow.serving.Input": (
        "1 example_list ExampleList @kind, 2 example_list_with_context ExampleListWithContext @kind"
    ),
    "tensorflow.serving.ExampleList": "1 examples Example*",
    "tensorflow.serving.ExampleListWithContext": "1 examples Example*, 2 context Example",
    "tensorflow.serving.MultiInferenceRequest": "1 tasks InferenceTask*, 2 input Input",
    "tensorflow.serving.MultiInferenceResponse": "1 results InferenceResult*",
    "tensorflow.serving.InferenceTask": "1 model_spec ModelSpec, 2 method_name string",
    "tensorflow.serving.InferenceResult": (
        "1 model_spec ModelSpec, 2 classification_result ClassificationResult @result, "
        "3 regression_result RegressionResult @result"
    ),
    "tensorflow.serving.SessionRunRequest": (
        "1 model_spec ModelSpec, 2 feed NamedTensorProto*, 3 fetch string*, 4 target string*, "
        "6 tensor_name_is_alias bool"
    ),
    "tensorflow.serving.SessionRunResponse": "3 model_spec ModelSpec, 1 tensor NamedTensorProto*",
}

# What a server is asked by gRPC: the service, the request and the answer of each method.
METHODS: Mapping[str, tuple[str, str, str]] = {
    "Predict": ("tensorflow.serving.PredictionService", "PredictRequest", "PredictResponse"),
    "GetModelMetadata": (
        "tensorflow.serving.PredictionService", "GetModelMetadataRequest", "GetModelMetadataResponse",
    ),
    "GetModelStatus": ("tensorflow.serving.ModelService", "GetModelStatusRequest", "GetModelStatusResponse"),
    "HandleReloadConfigRequest": ("tensorflow.serving.ModelService", "ReloadConfigRequest", "ReloadConfigResponse"),
}  # fmt: skip

_PACKAGES = ("tensorflow.serving", "tensorflow.error", "tensorflow")
_FIELD = re.compile(r"(\d+) (\w+) (map<(\w+), ([\w.]+)>|[\w.]+)([*?]?)(?: @(\w+))?")
_SCALARS = ("double", "float", "int64", "uint64", "int32", "bool", "string", "bytes", "uint32")


def message(name: str) -> Any:
    """The class of a message by its name without its package: `PredictRequest`, `TensorInfo.CooSparse`."""
    return _classes(name)


def type_name(data_type: int) -> str:
    """`DT_FLOAT` for 1; `DT_99` for a number that the table lacks."""
    return _TYPE_NAMES.get(data_type, f"DT_{data_type}")


_TYPE_NAMES = {number: name for name, number in DATA_TYPES.items()}


def parse_text(name: str, text: str, *, where: str, what: str) -> Any:
    """The message that a text file holds. Raises RepositoryInvalid with file and line: `not {what}: …`."""
    from google.protobuf import text_format

    parsed = message(name)()
    try:
        return text_format.Parse(text, parsed, descriptor_pool=pool())
    except text_format.ParseError as error:
        line = f":{error.GetLine()}" if error.GetLine() else ""
        raise RepositoryInvalid(f"not {what}: {error}", where=f"{where}{line}") from error


@functools.cache
def _classes(name: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(pool().FindMessageTypeByName(_resolved(name, "")))


@functools.cache
def pool() -> Any:
    """The descriptors of all messages of the tables; a pool of our own."""
    from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2

    found = descriptor_pool.DescriptorPool()
    known = ["google/protobuf/any.proto", "google/protobuf/wrappers.proto"]
    found.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    found.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    for package in reversed(_PACKAGES):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"mlconvert/{package}.proto", package=package, syntax="proto3", dependency=known
        )
        placed: dict[str, Any] = {}
        for full in (*MESSAGES, *ENUMS):
            if _package(full) == package:
                _add(file, placed, full)
        found.Add(file)
        known.append(file.name)
    return found


def _add(file: Any, placed: dict[str, Any], full: str) -> None:
    outer = placed.get(full.rpartition(".")[0])  # a message comes before those inside it
    name = full.rpartition(".")[2]
    if full in ENUMS:
        enum = file.enum_type.add(name=name) if outer is None else outer.enum_type.add(name=name)
        for value, place in ENUMS[full].items():
            enum.value.add(name=value, number=place)
        return
    placed[full] = descriptor = file.message_type.add(name=name) if outer is None else outer.nested_type.add(name=name)
    present = []  # fields that can be absent have a oneof each, and those come after the real ones
    for row in _rows(MESSAGES[full]):
        number, called, kind, key, value, mark, oneof = row
        field = descriptor.field.add(name=called, number=int(number))
        field.label = field.LABEL_REPEATED if mark == "*" or key else field.LABEL_OPTIONAL
        if key:
            entry = descriptor.nested_type.add(name="".join(part.title() for part in called.split("_")) + "Entry")
            entry.options.map_entry = True
            _typed(entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL), key, full)
            _typed(entry.field.add(name="value", number=2, label=field.LABEL_OPTIONAL), value, full)
            field.type, field.type_name = field.TYPE_MESSAGE, f".{full}.{entry.name}"
        else:
            _typed(field, kind, full)
        if oneof:
            names = [one.name for one in descriptor.oneof_decl]
            if oneof not in names:
                descriptor.oneof_decl.add(name=oneof)
                names.append(oneof)
            field.oneof_index = names.index(oneof)
        elif mark == "?":
            present.append(field)
    for field in present:
        field.oneof_index, field.proto3_optional = len(descriptor.oneof_decl), True
        descriptor.oneof_decl.add(name=f"_{field.name}")


def _rows(text: str) -> Iterable[tuple[str, ...]]:
    place = 0
    while place < len(text):
        found = _FIELD.match(text, place)
        if found is None:
            raise ValueError(f"not a row of fields: {text[place:]}")
        yield found.groups(default="")
        place = found.end() + len(", ")


def _typed(field: Any, kind: str, inside: str) -> None:
    if kind in _SCALARS:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
        return
    full = _resolved(kind, inside)
    field.type = field.TYPE_ENUM if full in ENUMS else field.TYPE_MESSAGE
    field.type_name = f".{full}"


def _resolved(kind: str, inside: str) -> str:
    """The full name of a type that a message names: nested in it, of its package, or of another."""
    if kind.startswith("google."):
        return kind
    for place in (inside, *_PACKAGES):
        if f"{place}.{kind}" in MESSAGES or f"{place}.{kind}" in ENUMS:
            return f"{place}.{kind}"
    if kind in MESSAGES or kind in ENUMS:
        return kind
    raise KeyError(f"no message or enumeration '{kind}'")


def _package(full: str) -> str:
    return next(package for package in _PACKAGES if full.startswith(f"{package}."))

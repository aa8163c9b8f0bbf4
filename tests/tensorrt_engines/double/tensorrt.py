"""A stand-in for TensorRT's bindings, which need a GPU: ONNX Runtime answers, and the GPU's memory is the host's.

It has the names that mlconvert uses and no others, with the parameters of the real ones: test_tensorrt_names.py holds
it to the real bindings of TensorRT 10 and 11. Only what is said here to be refused is refused as the real one does.
Environment: DOUBLE_TENSORRT (its version), DOUBLE_GPU (compute capability, or `none`), DOUBLE_ASKED (a file that gets
what a build was asked for, as JSON).
"""

import ctypes
import enum
import itertools
import json
import os
import struct
from pathlib import Path

import numpy as np
import onnx

__version__ = os.environ.get("DOUBLE_TENSORRT", "11.4.0.106")
_MAJOR = int(__version__.partition(".")[0])
_ELEMENTS = {1: "FLOAT", 10: "HALF", 16: "BF16", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 2: "UINT8"}
_NUMPY = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "INT32": "i4", "INT64": "i8", "BOOL": "?", "UINT8": "u1"}


def _gpu() -> str:
    return os.environ.get("DOUBLE_GPU", "9.0")


class BuilderFlag(enum.Enum):
    TF32 = 7
    REFIT = 4
    EDITABLE_TIMING_CACHE = 6
    VERSION_COMPATIBLE = 13
    EXCLUDE_LEAN_RUNTIME = 14
    ERROR_ON_TIMING_CACHE_MISS = 16
    STRIP_PLAN = 18
    REFIT_IDENTICAL = 19
    WEIGHT_STREAMING = 20


class SerializationFlag(enum.Enum):
    EXCLUDE_WEIGHTS = 0
    EXCLUDE_LEAN_RUNTIME = 1
    INCLUDE_REFIT = 2


class HardwareCompatibilityLevel(enum.Enum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0
    TACTIC_DRAM = 4


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8


class ErrorCode(enum.Enum):
    INTERNAL_ERROR = 1
    UNSUPPORTED_NODE = 8


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self):
        self._made = True

    def log(self, severity, msg):
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self):
        self._made = True

    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


class IOutputAllocator:
    def __init__(self):
        self._made = True


class IHostMemory(bytes):
    pass


def init_libnvinfer_plugins(logger, namespace):
    return logger._made


def get_plugin_registry():
    return _REGISTRY


class IPluginRegistry:
    def __init__(self):
        self._loaded = []

    def load_library(self, plugin_path):
        if not Path(plugin_path).read_bytes().startswith(b"\x7fELF"):
            raise RuntimeError(f"Unable to open library: {plugin_path}: invalid ELF header")
        self._loaded.append(plugin_path)
        return object()


_REGISTRY = IPluginRegistry()


# --- building ---


class ITensor:
    def __init__(self, value, shape_tensor=False):
        kind = value.type.tensor_type
        self.name = value.name
        self.dtype = DataType[_ELEMENTS[kind.elem_type]]
        self.shape = tuple(axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
        self.is_shape_tensor = shape_tensor


class INetworkDefinition:
    def __init__(self, flags):
        self._flags = flags
        self._model = None
        self._inputs, self._outputs = [], []

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]


class ParserError:
    def __init__(self, number, node, why):
        self._said = number, node, why

    def code(self):
        return ErrorCode.UNSUPPORTED_NODE if self._said[1] else ErrorCode.INTERNAL_ERROR

    def desc(self):
        return self._said[2]

    def node(self):
        return self._said[0]

    def node_name(self):
        return self._said[1].name if self._said[1] else ""

    def node_operator(self):
        return self._said[1].op_type if self._said[1] else ""


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def _lacks(self, node):
        known = {Path(path).name for path in get_plugin_registry()._loaded}
        return node.domain not in ("", "ai.onnx") and f"lib{node.op_type}.so" not in known

    num_subgraphs = property(lambda self: len(self._parts))

    def is_subgraph_supported(self, index):
        return self._parts[index][0]

    def get_subgraph_nodes(self, index):
        return self._parts[index][1]

    def supports_model_v2(self, model, path=None):
        nodes = onnx.load_from_string(model).graph.node
        parts = itertools.groupby(enumerate(nodes), lambda row: not self._lacks(row[1]))
        self._parts = [(supported, [number for number, _ in rows]) for supported, rows in parts]
        self._refuse(nodes)
        return not self._errors

    def _refuse(self, nodes, most=1000):
        for number, node in enumerate(nodes):
            if self._lacks(node) and len(self._errors) < most:
                why = f"checkFallbackPluginImporter: Plugin not found: {node.op_type}"
                self._errors.append(ParserError(number, node, why))

    def get_used_vc_plugin_libraries(self):
        used = {node.op_type for node in self._network._model.graph.node}
        return [os.environ["DOUBLE_VC_LIBRARY"]] if "RoiAlign" in used else []

    def parse_from_file(self, model):
        proto = onnx.load(model)
        self._refuse(proto.graph.node, 1)  # as one that stops at the first
        if self._errors:
            return False
        weights = {tensor.name for tensor in proto.graph.initializer}
        shapes = {node.input[1] for node in proto.graph.node if node.op_type in ("Reshape", "Expand")}
        inputs = [value for value in proto.graph.input if value.name not in weights]
        self._network._inputs = [ITensor(value, value.name in shapes) for value in inputs]
        self._network._outputs = [ITensor(value) for value in proto.graph.output]
        self._network._model = proto
        return True


class IOptimizationProfile:
    def __init__(self):
        self._shapes, self._values = {}, {}

    def set_shape(self, input, min, opt, max):  # noqa: A002 - the real names
        if not len(min) == len(opt) == len(max):
            raise ValueError("the dimensions do not agree")
        self._shapes[input] = [tuple(one) for one in (min, opt, max)]

    def set_shape_input(self, input, min, opt, max):  # noqa: A002
        self._values[input] = [list(one) for one in (min, opt, max)]


class ITimingCache:
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content)


class IBuilderConfig:
    def __init__(self):
        self._flags = {BuilderFlag.TF32}  # as the real one begins
        self._profiles, self._pools, self._cache = [], {}, None
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.progress_monitor = None
        self.plugins_to_serialize = []

    def set_flag(self, flag):
        self._flags.add(flag)

    def clear_flag(self, flag):
        self._flags.discard(flag)

    def get_flag(self, flag):
        return flag in self._flags

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[pool.name] = pool_size

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._content and cache._content != b"timings of " + _gpu().encode():
            return ignore_mismatch
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    def add_optimization_profile(self, profile):
        for low, usual, high in profile._shapes.values():
            if not all(a <= b <= c for a, b, c in zip(low, usual, high, strict=True)):
                return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1


class Builder:
    def __init__(self, logger):
        _require_gpu(logger)
        self._logger = logger

    def create_network(self, flags=0):
        assert bool(flags) == (_MAJOR < 11), "strongly typed by a flag in 10, always in 11"
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        severity = ILogger.Severity
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 3)
        for step in range(3):
            monitor.phase_start("Tactic Profiling", "Building Engine", 1)
            monitor.phase_finish("Tactic Profiling")
            if not monitor.step_complete("Building Engine", step):
                self._logger.log(severity.INTERNAL_ERROR, "[builder.cpp::build::7] Error Code 1: Build was canceled")
                return None
        monitor.phase_finish("Building Engine")
        self._logger.log(severity.WARNING, "[x.cpp::y::3] Detected layernorm nodes in FP16")
        self._logger.log(severity.VERBOSE, "a great many")
        for tensor in network._inputs:
            missing = -1 in tensor.shape and not all(tensor.name in profile._shapes for profile in config._profiles)
            if missing or (-1 in tensor.shape and not config._profiles):
                said = f"[network.cpp::check::1] Error Code 4: {tensor.name} has no profile"
                self._logger.log(severity.ERROR, said)
                return None
        if config._cache is not None:
            if config.get_flag(BuilderFlag.ERROR_ON_TIMING_CACHE_MISS) and not config._cache._content:
                self._logger.log(severity.ERROR, "[tuner.cpp::t::9] Error Code 10: Timing cache miss on node y")
                return None
            config._cache._content = b"timings of " + _gpu().encode()
        asked = {
            "flags": sorted(flag.name for flag in config._flags),
            "level": config.builder_optimization_level,
            "hardware": config.hardware_compatibility_level.name,
            "pools": config._pools,
            "profiles": [profile._shapes for profile in config._profiles],
            "values": [profile._values for profile in config._profiles],
            "plugins": config.plugins_to_serialize,
            "gpu": _gpu(),
        }
        if path := os.environ.get("DOUBLE_ASKED"):
            Path(path).write_text(json.dumps(asked))
        return IHostMemory(
            _plan(asked, _without_weights(network._model) if _STRIPPED in asked["flags"] else network._model)
        )


def _require_gpu(logger):
    if _gpu() == "none":
        logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35. Please check your installation")
        raise TypeError("pybind11::init(): factory function returned nullptr")


_STRIPPED = "STRIP_PLAN"


def _without_weights(model):
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    for tensor in stripped.graph.initializer:
        tensor.ClearField("raw_data")
    return stripped


def _plan(asked, model):
    text = json.dumps(asked).encode()
    body = struct.pack("<I", len(text)) + text + model.SerializeToString()
    total = 32 + 24 + len(body)
    version = bytes(int(part) for part in __version__.split(".")[:4])
    head = b"ftrt" + struct.pack("<IIIQ", 0, 1, 0, total) + version + bytes(4)
    return head + b"NGNE" + struct.pack("<IQQ", 0, 56, len(body)) + body


# --- running ---


class Runtime:
    def __init__(self, logger):
        _require_gpu(logger)
        self._logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine):
        plan = bytes(serialized_engine)
        built = ".".join(str(number) for number in plan[24:28])
        (length,) = struct.unpack_from("<I", plan, 56)
        asked = json.loads(plan[60 : 60 + length])
        said = None
        compatible = "VERSION_COMPATIBLE" in asked["flags"]
        if compatible and not self.engine_host_code_allowed:
            said = "engine host code is not allowed"
        elif built != __version__ and not compatible:
            said = (
                "[runtime.cpp::x::1] Error Code 1: The engine plan file is not compatible with this version of "
                f"TensorRT, expecting library version {__version__} got {built}, please rebuild."
            )
        elif asked["gpu"] != _gpu():
            said = (
                "The engine plan file is generated on an incompatible device, expecting compute "
                f"{_gpu()} got compute {asked['gpu']}, please rebuild."
            )
        if said:
            self._logger.log(ILogger.Severity.ERROR, said)
            return None
        return ICudaEngine(asked, plan[60 + length :])


class ICudaEngine:
    def __init__(self, asked, model):
        self._asked = asked
        self._model = onnx.load_from_string(model)
        weights = {tensor.name for tensor in self._model.graph.initializer}
        inputs = [ITensor(value) for value in self._model.graph.input if value.name not in weights]
        outputs = [ITensor(value) for value in self._model.graph.output]
        self._inputs = {tensor.name: tensor for tensor in inputs}
        self._outputs = {tensor.name: tensor for tensor in outputs}
        self._tensors = self._inputs | self._outputs

    num_io_tensors = property(lambda self: len(self._tensors))
    num_optimization_profiles = property(lambda self: max(1, len(self._asked["profiles"])))

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._tensors[name].dtype

    def get_tensor_location(self, name):
        return TensorLocation.HOST if any(name in row for row in self._asked["values"]) else TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name, profile_index):
        rows = self._asked["profiles"]
        fixed = [self._tensors[name].shape] * 3
        return rows[profile_index].get(name, fixed) if rows else fixed

    def get_tensor_shape(self, name):
        return self._tensors[name].shape

    def create_execution_context(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        model = self._model.SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return IExecutionContext(self)

    def get_weight_streaming_automatic_budget(self):
        return 1 << 20

    def create_serialization_config(self):
        return ISerializationConfig()

    def serialize_with_config(self, arg0):
        flags = set(self._asked["flags"])
        if SerializationFlag.EXCLUDE_WEIGHTS not in arg0._flags:
            flags -= {_STRIPPED}
        if SerializationFlag.INCLUDE_REFIT not in arg0._flags:
            flags -= {"REFIT", "REFIT_IDENTICAL"}
        return IHostMemory(_plan({**self._asked, "flags": sorted(flags)}, self._model))


class ISerializationConfig:
    def __init__(self):
        self._flags = {SerializationFlag.EXCLUDE_WEIGHTS}  # as that of a stripped engine begins

    def set_flag(self, flag):
        self._flags.add(flag)
        return True

    def clear_flag(self, flag):
        self._flags.discard(flag)
        return True


class Refitter:
    def __init__(self, engine, logger):
        if not {"REFIT", "REFIT_IDENTICAL"} & set(engine._asked["flags"]):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._engine, self._logger = engine, logger
        self._missing = [tensor.name for tensor in engine._model.graph.initializer]

    def get_missing_weights(self):
        return self._missing

    def refit_cuda_engine(self):
        return not self._missing


class OnnxParserRefitter:
    def __init__(self, refitter, logger):
        self._refitter, self._logger, self._errors = refitter, logger, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def refit_from_file(self, model):
        there = {tensor.name: tensor for tensor in onnx.load(model).graph.initializer}
        missing = []
        for tensor in self._refitter._engine._model.graph.initializer:
            new = there.get(tensor.name)
            if new is None:
                missing.append(tensor.name)
            elif (new.dims, new.data_type) != (tensor.dims, tensor.data_type):
                self._errors.append(
                    ParserError(-1, None, f"Assertion failed: the weights {tensor.name} have another size")
                )
            else:
                tensor.CopyFrom(new)
        self._refitter._missing = missing
        return not self._errors


class IExecutionContext:
    def __init__(self, engine):
        self._engine = engine
        self._shapes, self._addresses, self._allocators = {}, {}, {}
        self.active_optimization_profile = 0

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.active_optimization_profile = profile_index
        return True

    def set_input_shape(self, name, shape):
        low, _, high = self._engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        self._shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name, output_allocator):
        self._allocators[name] = output_allocator
        return output_allocator._made

    def infer_shapes(self):
        self._answers = None
        return [name for name in self._engine._inputs if name not in self._shapes or name not in self._addresses]

    def _run(self):
        if self._answers is None:
            taken = {}
            for name, tensor in self._engine._inputs.items():
                dtype = np.dtype(_NUMPY[tensor.dtype.name])
                count = int(np.prod(self._shapes[name]))
                data = ctypes.string_at(self._addresses[name], count * dtype.itemsize)
                taken[name] = np.frombuffer(data, dtype).reshape(self._shapes[name])
            names = list(self._engine._outputs)
            self._answers = dict(zip(names, self._engine._session.run(names, taken), strict=True))
        return self._answers

    def get_tensor_shape(self, name):
        shape = self._run()[name].shape
        free = any(node.op_type in ("NonZero", "Unique") for node in self._engine._model.graph.node)
        return tuple(-1 if free else length for length in shape)  # known only once the values are

    def execute_async_v3(self, stream_handle):
        for name, values in self._run().items():
            address = self._addresses.get(name, 0)
            if name in self._allocators:
                allocator = self._allocators[name]
                address = allocator.reallocate_output_async(name, 0, max(values.nbytes, 1), 256, stream_handle)
                allocator.notify_shape(name, values.shape)
            assert address
            data = np.ascontiguousarray(values)
            ctypes.memmove(address, data.ctypes.data, data.nbytes)
        return True


# --- the driver's memory ---


class _Driver:
    """libcuda, whose device is the host: the calls that mlconvert.readers.cuda_memory makes."""

    def __init__(self):
        self._held = {}
        self.most = 0

    def cuInit(self, flags):  # noqa: N802 - the real names
        return 100 if _gpu() == "none" else 0

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        return 0

    def cuDevicePrimaryCtxRetain(self, context, device):  # noqa: N802
        return 0

    def cuCtxSetCurrent(self, context):  # noqa: N802
        return 0

    def cuStreamCreate(self, stream, flags):  # noqa: N802
        stream._obj.value = 1
        return 0

    def cuStreamSynchronize(self, stream):  # noqa: N802
        return 0

    def cuMemAlloc_v2(self, address, size):  # noqa: N802
        if size.value > 1 << 40:
            return 2
        buffer = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(buffer)
        self._held[address._obj.value] = buffer
        self.most = max(self.most, len(self._held))
        return 0

    def cuMemFree_v2(self, address):  # noqa: N802
        del self._held[address.value]
        return 0

    def cuMemcpyHtoD_v2(self, address, data, size):  # noqa: N802
        ctypes.memmove(address.value, data.value, size.value)
        return 0

    def cuMemcpyDtoH_v2(self, data, address, size):  # noqa: N802
        ctypes.memmove(data.value, address.value, size.value)
        return 0

    def cuGetErrorString(self, code, text):  # noqa: N802
        text._obj.value = b"no CUDA-capable device is detected" if code == 100 else b"out of memory"
        return 0


_driver = _Driver()


def _replace_driver():
    from mlconvert.readers import cuda_memory

    cuda_memory.load_driver = lambda: _driver


_replace_driver()

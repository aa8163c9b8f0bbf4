"""ONNX to ONNX: all of ONNX Runtime's optimisations, as it makes them for the processor that it runs on.

It is hardware-bound: nodes and the order of weights are of this kind of processor and of this ONNX Runtime
(https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html, layout optimizations). What it
saves is the time that a server spends on that at every start. The machine is noted in the model itself.
"""

from __future__ import annotations

import json
from pathlib import Path

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model.files import external_bytes, read_onnx
from mlconvert.onnx_model.passes import contained, interface_of, write_pass

PROVIDER = "CPUExecutionProvider"


def convert(source: Artifact, target: Path) -> Artifact:
    """Raises ConversionFailed when ONNX Runtime cannot load the model, or changes its interface."""
    import onnxruntime

    from mlconvert.hardware.fingerprint import as_json, take
    from mlconvert.readers.hardware_builds import ONNX_NOTE

    model = read_onnx(source.path, external_data=False)
    before, large = interface_of(model), external_bytes(model) > 0
    nodes = len(model.graph.node)
    del model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # it warns that what comes out is bound to hardware, which is meant
    machine = as_json(take())
    hardware = {"kind": "onnxruntime", "device": "cpu", "onnxruntime_version": onnxruntime.__version__}
    with contained(target) as folder:
        optimised = folder / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        if large:
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", f"{optimised.name}.data"
            )
        try:
            onnxruntime.InferenceSession(str(source.path.absolute()), options, providers=[PROVIDER])
        except MemoryError:
            raise
        except Exception as error:
            hint = "leave the step out: the server optimises the model by itself"
            raise ConversionFailed(f"ONNX Runtime failed: {error}", where=source.location, hint=hint) from error
        result = read_onnx(optimised, external_data=False)
        kept = [entry for entry in result.metadata_props if entry.key != ONNX_NOTE]
        del result.metadata_props[:]
        result.metadata_props.extend(kept)
        note = json.dumps({"hardware": hardware, "fingerprint": machine})
        result.metadata_props.add(key=ONNX_NOTE, value=note)
        facts = {"nodes_before": nodes, "nodes_after": len(result.graph.node)}
        return write_pass(
            result,
            target,
            before,
            "ONNX Runtime",
            weights_of=optimised,
            facts={**facts, "hardware": hardware, "fingerprint": machine},
        )

"""A bill of materials of an artifact, as CycloneDX 1.6 has it for machine learning (https://cyclonedx.org/docs/1.6/json/).

All of it is from the artifact's record, whose digests are compared with the files first: what it was made of (the
source, the samples), with (packages, and for hardware-bound artifacts the machine), how (the steps), and how it was
proven. The same record gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from mlconvert import records
from mlconvert.errors import UsageError
from mlconvert.formats import source_artifact
from mlconvert.hardware.fingerprint import from_json
from mlconvert.registry import registry
from mlconvert.version import __version__

SPECIFICATION = "1.6"
FIGURES = ("max_abs", "mean_abs", "p99_abs", "max_rel", "max_ulp", "mismatched", "label_flips", "nan_mismatches")
_NAMESPACE = uuid.UUID("7f4ec40c-9a4d-5d0a-9e0c-6c0d3f6b7a11")  # of the serial numbers, made up for this purpose

Json = dict[str, Any]


def bill_of(location: str) -> Json:
    """The bill of materials of an artifact, or of a version of a repository, that has a record.

    Raises UsageError where there is none, RepositoryInvalid where a file is not the one that the record is of.
    """
    artifact = source_artifact(location, formats=registry().formats)
    _, record = records.with_record(artifact)
    if record is None:
        raise UsageError(
            f"{location} has no record, which is what a bill of materials is written from",
            hint=f"mlconvert convert SOURCE --to {artifact.format} writes one beside what it makes",
        )
    return bill(record)


def bill(record: Mapping[str, Any]) -> Json:
    """The bill of materials that a record comes to."""
    model = _model(record)
    parts = [*_sources(record), *_samples(record), *_libraries(record), *_machine(record)]
    serial = uuid.uuid5(_NAMESPACE, json.dumps(record, sort_keys=True))
    found: Json = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "mlconvert", "version": __version__}]},
            "component": model,
        },
        "components": parts,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }
    if created := record.get("created"):
        found["metadata"]["timestamp"] = created
    if steps := record.get("steps"):
        found["formulation"] = [{"workflows": [_workflow(steps, model["bom-ref"])]}]
    return found


def _model(record: Mapping[str, Any]) -> Json:
    files = record["files"]
    digest = record.get("sha256") or records.total_sha256(files)
    card: Json = {"modelParameters": {}}
    for side in ("inputs", "outputs"):
        tensors = (record.get("signature") or {}).get(side, [])
        if tensors:
            card["modelParameters"][side] = [{"format": _tensor(tensor)} for tensor in tensors]
    if metrics := list(_metrics(record.get("parity") or {})):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    # One file has its own digest; of several it is that of their list, which is no hash of a file.
    alone = {"hashes": _hashes(digest)} if len(files) == 1 else {}
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": PurePosixPath(record["path"]).name,
        "version": digest,
        **alone,
        "modelCard": card,
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{row['path']}",
                "name": row["path"],
                "hashes": _hashes(row["sha256"]),
                "properties": _properties({"bytes": row.get("bytes")}),
            }
            for row in files
        ],
        "properties": _properties(
            {
                "format": record["format"],
                "precision": record.get("precision"),
                "sha256": digest,
                "made-by": record.get("mlconvert"),
                "verified": bool((record.get("parity") or {}).get("ok")),
                "facts": record.get("facts") or None,
                "published": record.get("published"),
            }
        ),
    }


def _tensor(tensor: Mapping[str, Any]) -> str:
    shape = ", ".join("?" if size is None else str(size) for size in tensor["shape"])
    return f"{tensor['name']}: {tensor['dtype']} [{shape}]"


def _metrics(parity: Mapping[str, Any]) -> Iterator[Json]:
    """How far each output was from the source's, by kind of difference."""
    for output in parity.get("outputs", []):
        for figure in FIGURES:
            if output.get(figure) is not None:
                yield {"type": f"parity:{figure}", "value": str(output[figure]), "slice": output["name"]}


def _sources(record: Mapping[str, Any]) -> Iterator[Json]:
    """The model that it was converted from, and the plug-in libraries that are part of it."""
    source = record.get("source")
    if source:
        yield {
            "type": "machine-learning-model",
            "bom-ref": "source",
            "name": PurePosixPath(source["path"]).name,
            **({"hashes": _hashes(source["sha256"])} if source.get("sha256") else {}),
            "properties": _properties({"format": source.get("format"), "path": source["path"]}),
        }
    plugins = ((record.get("facts") or {}).get("hardware") or {}).get("plugins") or {}
    for name, digest in sorted(plugins.items()):
        yield {"type": "library", "bom-ref": f"plug-in:{name}", "name": name, "hashes": _hashes(digest)}


def _samples(record: Mapping[str, Any]) -> Iterator[Json]:
    parity = record.get("parity") or {}
    if digest := parity.get("samples_sha256"):
        yield {
            "type": "data",
            "bom-ref": "samples",
            "name": "samples",
            "description": "what the model was compared with its source on",
            "hashes": _hashes(digest),
            "properties": _properties({name: parity.get(name) for name in ("samples", "rtol", "atol")}),
        }


def _libraries(record: Mapping[str, Any]) -> Iterator[Json]:
    around = record.get("environment") or {}
    if python := around.get("python"):
        yield {"type": "platform", "bom-ref": "python", "name": "Python", "version": python}
    if system := around.get("platform"):
        yield {"type": "operating-system", "bom-ref": "platform", "name": system}
    for name, version in sorted((around.get("packages") or {}).items()):
        # https://github.com/package-url/purl-spec: a name of PyPI is lower case, with dashes
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version, safe='')}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _machine(record: Mapping[str, Any]) -> Iterator[Json]:
    """The hardware that a hardware-bound artifact was built on, and its driver."""
    if not record.get("fingerprint"):
        return
    machine = from_json(record["fingerprint"], where="the record's fingerprint")
    for index, gpu in enumerate(machine.gpus):
        told = {
            "compute-capability": gpu.compute_capability,
            "multiprocessors": gpu.multiprocessors,
            "memory-bytes": gpu.memory_bytes,
        }
        name = gpu.name or "GPU of unknown name"
        yield {"type": "device", "bom-ref": f"gpu:{index}", "name": name, "properties": _properties(told)}
    if driver := machine.driver.version:
        yield {"type": "device-driver", "bom-ref": "driver", "name": "NVIDIA driver", "version": driver}
    for name, version in (("CUDA", machine.cuda.version), ("TensorRT", machine.tensorrt.version)):
        if version:
            yield {"type": "library", "bom-ref": name.lower(), "name": name, "version": version}
    if machine.host.cpu_model:
        yield {"type": "device", "bom-ref": "processor", "name": machine.host.cpu_model}


def _workflow(steps: list[Mapping[str, Any]], model: str) -> Json:
    return {
        "bom-ref": "conversion",
        "uid": "conversion",
        "name": "mlconvert convert",
        "taskTypes": ["build"],
        "outputs": [{"type": "artifact", "resource": {"ref": model}}],
        "steps": [
            {
                "name": step["converter"],
                # Numbered, for no two may be alike.
                "properties": [*_properties({"step": number}), *_properties(step.get("options") or {}, "option:")],
            }
            for number, step in enumerate(steps, 1)
        ],
    }


def _hashes(digest: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(told: Mapping[str, Any], kind: str = "") -> list[Json]:
    """What CycloneDX has no field for: names of ours, and values as text."""
    return [
        {"name": f"mlconvert:{kind}{name}", "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in told.items()
        if value is not None
    ]

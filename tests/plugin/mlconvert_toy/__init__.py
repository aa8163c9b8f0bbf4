"""A plug-in for mlconvert: formats for linear models, what converts and runs them, and steps that go wrong.

Nothing runs `toynote`.
"""

from __future__ import annotations

from mlconvert.converter import Converter, Runner
from mlconvert.formats import Format
from mlconvert.packages import NUMPY

FORMATS = (
    Format("toy", "a toy model", (".toy",), "model.toy", "mlconvert_toy.files:is_toy"),
    Format("toybin", "a packed toy model", (".toybin",), "model.toybin", "mlconvert_toy.files:is_toybin"),
    Format("toynote", "a toy model told in words", (".toynote",), "model.toynote", "mlconvert.formats.content:never"),
)

CONVERTERS = (
    Converter("toy", "toybin", "toybin", "mlconvert_toy.packing", (NUMPY,), title="the numbers as float64"),
    Converter("toybin", "toybin", "round", "mlconvert_toy.rounding", (NUMPY,), title="fewer digits"),
    Converter("toybin", "toybin", "split", "mlconvert_toy.splitting", (), title="the numbers in a file of their own"),
    Converter("toy", "toynote", "toynote", "mlconvert_toy.packing", (), title="in words", function="describe"),
    Converter(
        "toy", "toy", "stamp", "mlconvert_toy.binding", (), title="a mark", function="stamp", hardware_bound=True
    ),
    *(
        Converter("toy", "toy", name, "mlconvert_toy.faults", (), title=f"goes wrong: {name}", function=name)
        for name in (
            "copy",
            "crash",
            "hang",
            "hoard",
            "chatter",
            "litter",
            "killed",
            "disk_full",
            "raises",
            "leaves",
            "tells",
        )
    ),
)

RUNNERS = (
    Runner("toy", "mlconvert_toy.running", (NUMPY,)),
    Runner("toybin", "mlconvert_toy.running", (NUMPY,)),
)

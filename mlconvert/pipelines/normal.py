"""The quantile function of the normal distribution, for which ONNX has no operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlconvert.pipelines.functions import clipped

if TYPE_CHECKING:
    from mlconvert.pipelines.graph import Tensor

# Coefficients of the rational approximations PPND16, the lowest power first: M. J. Wichura, "Algorithm AS 241: The
# percentage points of the normal distribution", Applied Statistics 37 (1988), accurate to about 1 part in 10**16.
_MIDDLE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip


def normal_quantile(p: Tensor, least: float) -> Tensor:
    """The quantile of each probability, which is first brought within [least, 1 - least]; `least` >= 2e-11.

    (Below 2e-11 a third approximation would be needed.)
    """
    graph = p.graph
    p = clipped(p, least, 1 - least)
    centred = p - 0.5
    near = _ratio(_MIDDLE, 0.180625 - centred * centred) * centred
    tail = graph.where(p < 0.5, p, 1.0 - p)
    root = (-tail.apply("Log")).apply("Sqrt")
    far = _ratio(_TAIL, root - 1.6) * centred.apply("Sign")
    return graph.where(centred.apply("Abs") <= 0.425, near, far)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Tensor) -> Tensor:
    above, below = (_polynomial(values, x) for values in coefficients)
    return above / below


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        total = total * x + coefficient
    return total

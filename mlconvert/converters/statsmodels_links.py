"""The inverses of link functions as ONNX nodes, in float64, each as statsmodels computes it.

They are written out where an operator would do: ONNX Runtime's Sigmoid is off by 1e-8 of small probabilities, and its
Softmax answers where statsmodels overflows. For Erf and Atan it has no float64 kernels: the normal and the Cauchy
distribution are polynomials here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.forests.onnx_graph import Graph
    from mlconvert.readers.statsmodels_results import Link

PIECES, DEGREE = 32, 9
"""Of the polynomials. With them the distributions are right to 1e-15, and to 2e-13 of probabilities down to 1e-300."""


def add_inverse_link(graph: Graph, link: Link, x: str, output: str) -> None:
    """Add the nodes from the linear predictor `x` [N, K] to the mean `output`, [N, K] or, multinomial, [N, K + 1]."""
    if link.name == "identity":
        graph.add("Identity", x, output=output)
    elif link.name == "power":
        _add_power(graph, 1.0 / link.parameter, x, output)
    elif link.name == "logit":
        graph.add("Reciprocal", _plus_one(graph, _exp_of_minus(graph, x)), output=output)
    elif link.name == "log":
        graph.add("Exp", x, output=output)
    elif link.name == "log-complement":
        graph.add("Sub", graph.constant(1.0), graph.add("Exp", x), output=output)
    elif link.name == "cloglog":
        inner = graph.add("Exp", graph.add("Neg", graph.add("Exp", x)))
        graph.add("Sub", graph.constant(1.0), inner, output=output)
    elif link.name == "loglog":
        graph.add("Exp", graph.add("Neg", _exp_of_minus(graph, x)), output=output)
    elif link.name == "negative-binomial":
        rest = graph.add("Sub", graph.constant(1.0), _exp_of_minus(graph, x))
        graph.add("Div", graph.constant(-1.0), graph.add("Mul", graph.constant(link.parameter), rest), output=output)
    elif link.name == "multinomial-logit":
        odds = graph.add("Exp", x)
        total = _plus_one(graph, graph.add("ReduceSum", odds, graph.constant([1], "int64"), keepdims=1))
        first, others = graph.add("Reciprocal", total), graph.add("Div", odds, total)
        graph.add("Concat", first, others, output=output, axis=1)
    else:
        _add_distribution(graph, x, output, cauchy=link.name == "cauchy")


def _exp_of_minus(graph: Graph, x: str) -> str:
    return graph.add("Exp", graph.add("Neg", x))


def _plus_one(graph: Graph, x: str) -> str:
    return graph.add("Add", graph.constant(1.0), x)


def _add_power(graph: Graph, exponent: float, x: str, output: str) -> None:
    """numpy.power by a number, which has ways of its own for three exponents."""
    if exponent == -1:
        graph.add("Reciprocal", x, output=output)
    elif exponent == 2:
        graph.add("Mul", x, x, output=output)
    elif exponent == 0.5:
        graph.add("Sqrt", x, output=output)
    else:
        graph.add("Pow", x, graph.constant(exponent), output=output)


# --- distributions ---


def _add_distribution(graph: Graph, x: str, output: str, *, cauchy: bool) -> None:
    """The cumulative distribution of the standard Cauchy or normal distribution: the tail below -|x|, or the rest."""
    zero, one = graph.constant(0.0), graph.constant(1.0)
    # A missing value has no place among the pieces; it comes back at the end.
    size = graph.add("Abs", graph.add("Where", graph.add("IsNaN", x), zero, x))
    tail = _cauchy_tail(graph, size) if cauchy else _normal_tail(graph, size)
    both = graph.add("Where", graph.add("Less", x, zero), tail, graph.add("Sub", one, tail))
    graph.add("Where", graph.add("IsNaN", x), x, both, output=output)


def _normal_tail(graph: Graph, z: str) -> str:
    """Below -z for z >= 0: exp(-z * z / 2) * u * f(u) for u = 1 / (1 + z), where f is smooth on [0, 1]."""
    import numpy as np
    from scipy.special import erfcx

    def smooth(u: np.ndarray) -> np.ndarray:
        return np.asarray(erfcx((1 / u - 1) / np.sqrt(2)) / u / 2)

    u = graph.add("Reciprocal", _plus_one(graph, z))
    exponential = graph.add("Exp", graph.add("Mul", graph.add("Mul", z, z), graph.constant(-0.5)))
    return graph.add("Mul", graph.add("Mul", exponential, u), _add_polynomial(graph, smooth, u))


def _cauchy_tail(graph: Graph, z: str) -> str:
    """Below -z for z >= 0: atan(1 / z) / pi, by the arctangent between 0 and 1."""
    import numpy as np

    def smooth(u: np.ndarray) -> np.ndarray:
        return np.asarray(np.arctan(u) / u / np.pi)

    far = graph.add("Greater", z, graph.constant(1.0))
    u = graph.add("Where", far, graph.add("Reciprocal", z), z)
    angle = graph.add("Mul", u, _add_polynomial(graph, smooth, u))
    return graph.add("Where", far, angle, graph.add("Sub", graph.constant(0.5), angle))


def _add_polynomial(graph: Graph, function: Callable[[np.ndarray], np.ndarray], u: str) -> str:
    """A function that is smooth on [0, 1], at u [N, 1]: a polynomial for each of its pieces."""
    import numpy as np

    place = graph.add("Mul", u, graph.constant(float(PIECES)))
    highest = graph.constant(float(PIECES - 1))
    piece = graph.add("Min", graph.add("Floor", place), highest)
    within = graph.add("Sub", graph.add("Sub", place, piece), graph.constant(0.5))  # -0.5 to 0.5
    number = graph.add("Squeeze", graph.cast(piece, "int64"), graph.constant([1], "int64"))
    coefficients = graph.add("Gather", graph.constant(polynomials(function)), number, axis=0)
    powers = graph.add("Pow", within, graph.constant(np.arange(DEGREE + 1.0).reshape(1, -1)))
    terms = graph.add("Mul", coefficients, powers)
    return graph.add("ReduceSum", terms, graph.constant([1], "int64"), keepdims=1)


def polynomials(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The function on [0, 1] in PIECES of equal length, as polynomials in the distance to the piece's middle.

    Float64 [PIECES, DEGREE + 1], lowest power first; the distance is counted in pieces. They go through the function
    at Chebyshev's points, so that no piece strays between them. The function is not asked for 0.
    """
    import numpy as np
    from numpy.polynomial import chebyshev, polynomial

    points = chebyshev.chebpts1(DEGREE + 1)
    middles = np.arange(PIECES)[:, None] + 0.5
    values = function((middles + points / 2) / PIECES)
    series = np.linalg.solve(chebyshev.chebvander(points, DEGREE), values.T).T
    doubled = polynomial.polyvander(np.array([2.0]), DEGREE)[0]  # from points in -1 to 1 to distances
    pieces = [np.pad(row, (0, DEGREE + 1 - len(row))) for row in map(chebyshev.cheb2poly, series)]
    coefficients: np.ndarray = np.array(pieces) * doubled
    return coefficients

"""Projections onto components or onto fixed vectors, and what else is a product with a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.graph import dense
from mlconvert.pipelines.kernels import kernel, squared_distances

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def pca(build: Build, part: Any, given: Columns) -> Tensor:
    """Of decomposition/_base.py: PCA and IncrementalPCA."""
    x = build.numbers(given)
    projected = (x if part.mean_ is None else x - dense(part.mean_)) @ dense(part.components_).T
    if not part.whiten:
        return projected
    scale = np.sqrt(dense(part.explained_variance_))
    return projected / dense(np.maximum(scale, np.finfo(np.float64).eps))


def components(build: Build, part: Any, given: Columns) -> Tensor:
    """TruncatedSVD and random projections: X @ components_.T."""
    return build.numbers(given) @ dense(part.components_).T


def fast_ica(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given)
    return (x - dense(part.mean_) if part.whiten else x) @ dense(part.components_).T


def factor_analysis(build: Build, part: Any, given: Columns) -> Tensor:
    """Of decomposition/_factor_analysis.py: the posterior mean of the factors."""
    loadings = dense(part.components_)
    scaled = loadings / dense(part.noise_variance_)
    posterior = np.linalg.inv(np.eye(len(loadings)) + scaled @ loadings.T)
    return (build.numbers(given) - dense(part.mean_)) @ dense(scaled.T @ posterior)


def feature_agglomeration(build: Build, part: Any, given: Columns) -> Tensor:
    if part.pooling_func is not np.mean:
        raise build.refused("its pooling_func is not numpy.mean")
    labels = np.asarray(part.labels_)
    of_cluster = dense(labels[:, None] == np.unique(labels))
    return build.numbers(given) @ dense(of_cluster / of_cluster.sum(axis=0))


def nystroem(build: Build, part: Any, given: Columns) -> Tensor:
    return _similarities(build, part, given, part.components_) @ dense(part.normalization_).T


def kernel_ridge(build: Build, part: Any, given: Columns) -> Tensor:
    vectors = dense(part.X_fit_)
    answer = _similarities(build, part, given, vectors) @ dense(part.dual_coef_).reshape(len(vectors), -1)
    return answer.flat() if part.dual_coef_.ndim == 1 else answer


def _similarities(build: Build, part: Any, given: Columns, vectors: Any) -> Tensor:
    """Of metrics/pairwise.py, pairwise_kernels, with its defaults."""
    vectors = dense(vectors)
    name = part.kernel
    if not isinstance(name, str) or part.kernel_params:
        raise build.refused("its kernel is a function, or has kernel_params")
    gamma = 1.0 / vectors.shape[1] if part.gamma is None else part.gamma
    settings = {
        "gamma": gamma,
        "coef0": 1.0 if part.coef0 is None else part.coef0,
        "degree": 3.0 if part.degree is None else part.degree,
    }
    return kernel(build, "poly" if name == "polynomial" else name, build.numbers(given), vectors, settings)


def kernel_pca(build: Build, part: Any, given: Columns) -> Tensor:
    """Of decomposition/_kernel_pca.py: the centred kernel, onto the eigenvectors whose eigenvalues are not zero."""
    settings = {"gamma": part.gamma_, "coef0": part.coef0, "degree": part.degree}
    if not isinstance(part.kernel, str) or part.kernel_params:
        raise build.refused("its kernel is a function, or has kernel_params")
    alike = kernel(build, part.kernel, build.numbers(given), dense(part.X_fit_), settings)
    means = dense(part._centerer.K_fit_rows_)
    centred = alike - means - alike.reduced("ReduceSum") / float(len(means)) + float(part._centerer.K_fit_all_)
    kept = np.flatnonzero(part.eigenvalues_)
    vectors = np.zeros(part.eigenvectors_.shape)
    vectors[:, kept] = part.eigenvectors_[:, kept] / np.sqrt(part.eigenvalues_[kept])
    return centred @ vectors


def rbf_sampler(build: Build, part: Any, given: Columns) -> Tensor:
    angles = build.numbers(given) @ dense(part.random_weights_) + dense(part.random_offset_)
    return angles.apply("Cos") * float(np.sqrt(2.0 / part.n_components))


def elliptic_envelope(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of covariance/_elliptic_envelope.py: minus the squared Mahalanobis distance, less an offset."""
    from mlconvert.pipelines.classes import inlier

    off = build.numbers(given) - dense(part.location_)
    scores = (-((off @ dense(part.get_precision())) * off).reduced("ReduceSum") - float(part.offset_)).flat()
    return scores if method == "decision_function" else inlier(scores, at_zero=True)


def nearest_centre(build: Build, part: Any, given: Columns) -> Tensor:
    """MeanShift and AffinityPropagation: the number of the nearest centre."""
    if not len(part.cluster_centers_):
        raise build.refused("it found no clusters")
    return squared_distances(build.numbers(given), dense(part.cluster_centers_)).argmin()

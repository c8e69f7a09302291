"""Which channels matter, as plug-ins: CRITERIA by name.

A criterion takes the kernels that make the channels and those that read them, and gives each channel
a score; the channels with the largest scores stay.
"""

from collections.abc import Callable

import numpy as np

Criterion = Callable[[np.ndarray, np.ndarray], np.ndarray]
_NEIGHBOURS = 5  # of a kernel, whose distances tell how dense it is around it
_BALANCE = 1.0  # α of the KSE indicator


def l2_norm(made: np.ndarray, read: np.ndarray) -> np.ndarray:
    """The L2 norm of each channel's filter (NetAdapt, arXiv:1804.03230, §3.2).

    Args:
      made: [C, d], all weights that make each of the C channels, float.
      read: [C, n, k], the n kernels of k weights that read each channel.

    Returns:
      Scores [C].
    """
    return np.linalg.norm(made, axis=1)


def geometric_median(made: np.ndarray, read: np.ndarray) -> np.ndarray:
    """The sum of a filter's distances to all others (FPGM, arXiv:1811.00250, §3.3).

    The filters nearest the geometric median of all have the least: the others can replace them.
    Arguments and result as of `l2_norm`.
    """
    return np.array([np.linalg.norm(made - filter_, axis=1).sum() for filter_ in made])


def kernel_sparsity_entropy(made: np.ndarray, read: np.ndarray) -> np.ndarray:
    """The KSE indicator √(s / (1 + α·e)) of the kernels that read a channel (Li et al., CVPR 2019).

    s is the sum of the kernels' L1 norms: a channel that is read with small weights matters less.
    e is the entropy of how dense the kernels lie, by the distances to each one's nearest
    neighbours: kernels that are alike tell the same of the channel. Both are scaled to [0, 1] over
    the channels. Arguments and result as of `l2_norm`.
    """
    sparsity = np.abs(read).sum(axis=(1, 2))
    entropy = np.array([_entropy(kernels) for kernels in read])
    return np.sqrt(_scaled(sparsity) / (1 + _BALANCE * _scaled(entropy)))


CRITERIA: dict[str, Criterion] = {
    'l2': l2_norm,
    'geometric_median': geometric_median,
    'kse': kernel_sparsity_entropy,
}


def _entropy(kernels: np.ndarray) -> float:
    """Of the shares of `kernels` [n, k] in the distances to each one's nearest neighbours."""
    squares = (kernels**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * kernels @ kernels.T
    np.fill_diagonal(distances, 0)
    distances = np.sqrt(np.maximum(distances, 0))
    count = min(_NEIGHBOURS, len(kernels) - 1)
    # The nearest is the kernel itself.
    density = np.partition(distances, count, axis=1)[:, : count + 1].sum(axis=1)
    if not density.sum():
        return 0.0
    shares = density[density > 0] / density.sum()
    return float(-np.sum(shares * np.log2(shares)))


def _scaled(values: np.ndarray) -> np.ndarray:
    """To [0, 1]; all 0 where they are equal."""
    span = np.ptp(values)
    return (values - values.min()) / span if span else np.zeros_like(values)

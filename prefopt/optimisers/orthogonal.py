"""The nearest matrix whose singular values are about 1."""

from __future__ import annotations

from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Return ``U S' V^T`` for ``matrix = U S V^T`` with ``S'`` between about 0.7 and 1.2, by Newton-Schulz steps.

    ``X <- a X + (b X X^T + c (X X^T)^2) X`` on the matrix over its Frobenius norm; a singular value far below the
    largest needs more steps. Coefficients of Muon (Jordan et al., 2024). A zero matrix stays zero.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.float() / (wide.float().norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if matrix.shape[0] <= matrix.shape[1] else x.T).to(matrix.dtype)

"""A covariance structure from outside of the package: variances that all components share."""

import torch

from pyro_ugmm.checks import check_values
from pyro_ugmm.distributions import Covariance
from pyro_ugmm.distributions.covariance.moments import SharedMoments
from pyro_ugmm.distributions.covariance.tensors import Argument


class TiedDiagonalMoments(SharedMoments):
    def unpack(self, products, n_features):
        return products.new_zeros(n_features)

    def shared(self, y, responsibilities):
        return y.square() @ responsibilities.sum(0)

    def sum(self, weighted, deviations):
        return (weighted * deviations).sum((0, -1))

    def outer(self, vectors, mass):
        return (mass.unsqueeze(-1) * vectors.square()).sum(-2)

    def project(self, matrices):
        return matrices.diagonal(dim1=-2, dim2=-1).sum(-2)


class TiedDiagonalCovariance(Covariance):
    name = "tied_diagonal"
    arguments = {"variances": Argument(1, "a variance for each feature, shape (..., D)")}
    is_shared = True
    moments = TiedDiagonalMoments()

    @property
    def variances(self):
        return self.tensors()["variances"]

    @property
    def n_features(self):
        return self.variances.shape[-1]

    def check_positive_definite(self):
        check_values("variances", self.variances, self.variances > 0, "positive values")

    def whiten(self, deviations):
        return deviations / self.variances.sqrt().unsqueeze(-2)

    def color(self, noise, index):
        return noise * self.variances.sqrt().reshape(-1, self.n_features)[index]

    def log_determinant(self, n_features):
        return self.variances.log().sum(-1, keepdim=True)

    def dense(self, n_components, n_features):
        matrices = self.variances.diag_embed().unsqueeze(-3)
        return matrices.expand(*self.batch_shape, n_components, n_features, n_features)

    def n_parameters(self, n_components, n_features):
        return n_features

    def marginal(self, dims):
        return type(self)(self.variances[..., dims])

    def conditional(self, kept, given):
        return self.marginal(kept), self.variances.new_zeros(1, len(kept), len(given))

    def natural(self, means):
        return means / self.variances, means.new_empty(len(means), 0)

    def common_term(self, y):
        return -0.5 * (y.square() / self.variances.unsqueeze(-1)).sum(0)

    def canceling(self, means):
        return (1 + means.square() / self.variances).sum(-1)

    def whitener(self, n_components):
        return self.variances.rsqrt().expand(n_components, -1).unsqueeze(-1)

    def regularized(self, floor):
        smallest = torch.finfo(self.variances.dtype).tiny ** 0.5
        variances = self.variances + floor
        raised = (variances < smallest).any(-1, keepdim=True)
        return type(self)(variances.clamp(min=smallest), validate_args=False), raised

    @classmethod
    def from_moments(cls, moments, mass, n_features, floor):
        return cls(moments / mass.sum(-1, keepdim=True), validate_args=False).regularized(floor)

    def smallest_variance(self):
        return self.variances.amin(-1, keepdim=True)

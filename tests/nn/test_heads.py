import torch
from sklearn.datasets import load_digits
from torch import nn

from pyro_ugmm.nn import UGMMNetwork


def test_a_convolutional_network_trains_through_its_mixture_head():
    """The whole network: a step of the convolution along the head's gradients lowers the loss by
    what these say.
    """
    data = load_digits()
    x = torch.tensor(data.images).unsqueeze(1)[:300] / 16
    y = torch.tensor(data.target)[:300]
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()).double()
    head = UGMMNetwork([16 * 3 * 3, 32, 10], normalization="layer", dtype=torch.float64)
    head.reset_parameters(body(x))
    network, parameters = nn.Sequential(body, head), [*body.parameters()]
    loss = nn.functional.cross_entropy(network(x), y)
    gradients = torch.autograd.grad(loss, parameters)
    assert all((gradient != 0).all() for gradient in gradients)
    slope = sum(gradient.square().sum() for gradient in gradients)
    size = 1e-4 / slope
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(size * gradient)
        fallen = loss - nn.functional.cross_entropy(network(x), y)
    torch.testing.assert_close(fallen, size * slope, rtol=0.1, atol=0)

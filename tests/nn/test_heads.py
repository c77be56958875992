import torch
from sklearn.datasets import load_digits
from torch import nn

from pyro_ugmm.nn import UGMMNetwork


def test_a_convolutional_network_trains_through_its_mixture_head():
    """The whole network: the convolution learns through the head's gradients."""
    data = load_digits()
    x, y = (
        torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16,
        torch.tensor(data.target),
    )
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    head = UGMMNetwork([16 * 3 * 3, 32, 10], normalization="layer")
    head.reset_parameters(body(x[:500]).detach())
    network = nn.Sequential(body, head)
    before = body[0].weight.detach().clone()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(100):
        rows = torch.randint(1200, (256,))
        loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (body[0].weight - before).abs().mean() > 0.01
    with torch.no_grad():
        accuracy = (network(x[1200:]).argmax(-1) == y[1200:]).double().mean()
    assert accuracy > 0.9

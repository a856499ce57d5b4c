"""A made-up release with the doors that `benchmarks/release.py` uses, and a plain loop behind them."""

import textwrap
from pathlib import Path

import yaml

UTILS = """
    import yaml

    class Config(dict):
        __getattr__ = dict.get
        __setattr__ = dict.__setitem__

    def build_config(path):
        def made(x):
            return Config({k: made(v) for k, v in x.items()}) if isinstance(x, dict) else x

        with open(path) as file:
            return made(yaml.safe_load(file) or {})

    def update_config(old, new):
        for k, v in new.items():
            old[k] = update_config(old.get(k) or Config(), v) if isinstance(v, Config) else v
        return old
"""
MODULES = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Encoder(nn.Module):
        def __init__(self, channels, kernels, size):
            super().__init__()
            self.mu_encoder, self.std_encoder = (
                nn.Conv2d(channels, kernels, size, bias=False, padding="same") for _ in range(2)
            )

        def reparameterize(self, mu, std):
            return mu + torch.randn_like(std) * std

        def forward(self, x):
            self.mu, self.std = self.mu_encoder(x), F.softplus(self.std_encoder(x).clamp(-5, 5))
            return self.reparameterize(self.mu, self.std)

    class Decoder(nn.Module):
        def __init__(self, channels, kernels):
            super().__init__()
            self.decoder = nn.Conv2d(kernels, channels, 1, bias=False)

    class Convolutional(nn.Module):
        def __init__(self, channels, settings):
            super().__init__()
            kernels, self.beta = channels // 2, settings.beta
            self.encoder = Encoder(channels, kernels, settings.kernel_size)
            self.decoder = Decoder(channels, kernels)

        def forward(self, x):
            return self.decoder.decoder(self.encoder(x))

        def loss(self):
            mu, std = self.encoder.mu, self.encoder.std
            return self.beta * (-0.5 * (1 + std - mu**2 - std.exp()).sum(1)).mean()
"""
ZOO = """
    import torch
    from torch import nn

    from src.models import modules

    class Block(nn.Module):
        def __init__(self, *sizes):
            super().__init__()
            self.conv = nn.Conv2d(*sizes, stride=2)

    class Head(nn.Module):
        def __init__(self, *sizes):
            super().__init__()
            self.linear = nn.Linear(*sizes)

    class Net(nn.Module):
        def __init__(self, config):
            super().__init__()
            channels = [3, *config.model.channels]
            pairs = zip(channels, channels[1:])
            self.conv_layers = nn.ModuleList(Block(a, b, 5) for a, b in pairs)
            self.mlp_layers = nn.ModuleList([Head(channels[-1], config.num_classes)])
            settings = config.model.VB
            if settings is not None:
                assert settings.positions == [0]
                if settings._class == "Convolutional":
                    bottleneck = modules.Convolutional(channels[1], settings)
                else:
                    shape = (channels[1], 14, 14)
                    bottleneck = getattr(modules, settings._class)(shape, settings.K, settings.beta)
                self.VB_list = nn.ModuleList([bottleneck])

        def get_vb_layers(self):
            return list(self.VB_list)

        def loss(self):
            return torch.zeros(1).cuda() + self.VB_list[0].loss()

        def forward(self, x):
            for i, block in enumerate(self.conv_layers):
                x = block.conv(x).relu()
                if i == 0 and hasattr(self, "VB_list"):
                    x = self.VB_list[0](x)
            return self.mlp_layers[0].linear(x.flatten(1))

    def get_model(name, config):
        return Net(config)
"""
ATTACKS = """
    import torch
    from torch.nn import functional as F

    class Attack:
        def __init__(self, model, images, labels, config):
            self.model, self.images, self.labels, self.config = model, images, labels, config
            self.data_mean, self.data_std = (
                torch.tensor(config.data[name])[:, None, None] for name in ("mean", "std")
            )

        def init_dummies(self):
            return torch.randn_like(self.images[0]).requires_grad_(), None

        def attack_specific_regularization(self, loss, dummy_data):
            down = (dummy_data[..., 1:, :] - dummy_data[..., :-1, :]).abs().mean()
            across = (dummy_data[..., 1:] - dummy_data[..., :-1]).abs().mean()
            return loss + self.config.attack.regularization * (down + across)

        def gradient(self, x, y, **options):
            loss = F.cross_entropy(self.model(x), y)
            if self.config.model.VB is not None:
                loss = loss + self.model.loss()
            names, parameters = zip(*self.model.named_parameters())
            found = torch.autograd.grad(loss, parameters, **options)
            ignored = self.config.attack.ignore_gradient_layers
            kept = [g for n, g in zip(names, found) if not any(word in n for word in ignored)]
            return torch.cat([g.flatten() for g in kept])

        def attack(self):
            settings, y = self.config.attack, self.labels[0]
            target = self.gradient(self.images[0], y).detach()
            x, _ = self.init_dummies()
            optimizer = torch.optim.Adam([x], lr=settings.optimizer.lr)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=400)
            best = float("inf")
            for i in range(settings.max_iterations):
                dummy = self.gradient(x, y, create_graph=True)
                loss = 1 - F.cosine_similarity(dummy, target, dim=0)
                loss = self.attack_specific_regularization(loss, dummy_data=x)
                x.grad = torch.autograd.grad(loss, x)[0].sign()
                optimizer.step()
                low, high = ((v - self.data_mean) / self.data_std for v in (0, 1))
                x.data = torch.maximum(torch.minimum(x.data, high), low)
                scheduler.step(loss.item())
                if loss.item() < best:
                    best, found, at = loss.item(), x.detach().clone(), i
            result = {"ReconstructionLoss": best, "BestIteration": at, "NeededIterations": i}
            if settings.metrics:
                result["SSIM"] = torch.tensor([0.25])
            return [{"Reconstructions": found}], [result]

    def get_attack(name, dataset, model, images, labels, config):
        assert (name, dataset) == ("IG", "CIFAR10")
        print("not to be seen")
        return Attack(model, images, labels, config)
"""
PRECODE = """
    import math

    import torch
    from torch import nn
    from torch.nn import functional as F

    class VariationalBottleneck(nn.Module):
        def __init__(self, in_shape, K, beta):
            super().__init__()
            self.in_shape, self.K, self.beta = in_shape, K, beta
            self.encoder = nn.Linear(math.prod(in_shape), 2 * K)
            self.decoder = nn.Linear(K, math.prod(in_shape))

        def reparameterize(self, mu, std):
            return mu + torch.randn_like(std) * std

        def forward(self, x):
            self.mu, raw = self.encoder(x.flatten(1)).chunk(2, 1)
            self.std = F.softplus(raw)
            return self.decoder(self.reparameterize(self.mu, self.std)).view_as(x)

        def loss(self):
            exact = -0.5 * (1 + 2 * self.std.log() - self.mu**2 - self.std**2).sum(1).mean()
            return self.beta * exact / math.log(2)
"""
CODE = {
    "src/utils.py": UTILS,
    "src/attacks.py": ATTACKS,
    "src/models/modules.py": MODULES,
    "src/models/modelzoo.py": ZOO,
}
STATISTICS = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
CNN = {"model": {"name": "CNN", "channels": [16, 32, 64], "VB": None}}
CVB = {
    "model": {
        "name": "VBCNN",
        "channels": [16, 32, 64],
        "VB": {"_class": "Convolutional", "beta": 1.0, "kernel_size": 3, "positions": [2]},
    },
    "attack": {
        "ignore_gradient_layers": ["decoder", "1.conv", "2.conv", "mlp_layers"],
        "regularization": 0.1,
    },
}


def release(folder: Path, *, lr: float = 1.0) -> Path:
    """Write a release whose attack takes first steps of length `lr`; the real one's is 1."""
    for name, text in CODE.items():
        write(folder / name, textwrap.dedent(text))
    configs = {
        "main_config": {"checkpoint_path": "./checkpoints/"},
        "fedavg": {},
        "attacks/IG": {"attack": {"optimizer": {"lr": lr}, "max_iterations": 20_000}},
        "data/CIFAR10": {"data": {"dataset": "CIFAR10", **STATISTICS}, "num_classes": 10},
        "models/CNN": CNN,
        "models/CNNCVB": CVB,
    }
    for name, content in configs.items():
        write(folder / "configs" / f"{name}.yaml", yaml.safe_dump(content))
    return folder


def precode(folder: Path) -> Path:
    """Write PRECODE's release: one module."""
    write(folder / "src" / "VariationalBottleneck.py", textwrap.dedent(PRECODE))
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

"""Generators of images: what an attack on a latent searches with, trained here or a user's own."""

from gleak_lib.generators.base import ConditionalGenerator, Generator, check_generator, sample
from gleak_lib.generators.checkpoint import load, save
from gleak_lib.generators.dcgan import DCGAN
from gleak_lib.generators.train import train

__all__ = [
    "DCGAN",
    "ConditionalGenerator",
    "Generator",
    "check_generator",
    "load",
    "sample",
    "save",
    "train",
]

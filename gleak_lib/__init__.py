"""gleak: what gradients shared in federated learning leak, and what protects.

`import gleak_lib` needs torch, torchvision and numpy only. Everything else is imported where it is used.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gleak")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

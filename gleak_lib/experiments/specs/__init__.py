"""What is run: an experiment is one point of a study, frozen and hashable, with the code that computes it.

A new kind is one file: a frozen dataclass marked `@storable` that derives from `Experiment`; the store, the
runner and `gleak status` take it as it is.
"""

"""One file a chapter: the function `cells` says what it computes (see `experiments.chapters`)."""

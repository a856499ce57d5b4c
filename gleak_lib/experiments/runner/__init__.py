"""How missing experiments are computed: order, workers, time."""

"""How long tests wait for what has to happen. That is no measure of speed: on a machine with much other work all is
slow, and only what never happens takes so long."""

PATIENCE_S = 30.0

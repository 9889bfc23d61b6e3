"""How sure a number is: of one model, between anchors, over seeds."""

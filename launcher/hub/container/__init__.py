"""The container runtime in the Hub: sessions as containers without a network, and the ways out that we give them."""

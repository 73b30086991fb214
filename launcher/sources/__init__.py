"""Where repositories come from: providers, the guard in front of every address, the one git runner, the cache."""

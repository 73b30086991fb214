"""repo2docker as it is, for what our own pipeline does not make: conda, R, Julia and Nix."""

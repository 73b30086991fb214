"""Publishing a repository: the links and badges that lead to its launches."""

"""The process runtime's builder: a virtual environment made by uv inside a bubblewrap sandbox."""

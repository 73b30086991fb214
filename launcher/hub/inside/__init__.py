"""What runs inside a session's sandbox, before and while the Jupyter server runs.

Plain scripts for Python 3.8 and later with nothing but the standard library: the folder is bound read-only at
``/srv/launcher`` and started by whatever Python the session has. Nothing here may import the launcher.

::

    server.py        the door: ``python /srv/launcher/server.py session.json``
    session.py       content, layer and settings, in that order; then hands over to serve.py
    content.py       the repository's files in the home
    sync.py          bringing an existing copy up to date: clone_state.py says whether, merge.py decides what,
                     worktree.py writes
    repository.py    the place where builds saw the repository
    overlay.py       what a postBuild script left
    kernel_layer.py  where ``%pip install`` of this session goes, and the kernelspec
    serve.py         runs the Jupyter server in this process
    ready.py         words to whoever started the session
    container.py     the first program of a container, which then runs the door
    relay.py         joins a port of a container to a socket outside, and that to a port, on either side of the wall
"""

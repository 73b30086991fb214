"""What ``launcher up`` makes of an operator's own configuration."""

import requests


def test_the_operators_own_base_url_and_service_name_are_where_everything_is(start, tmp_path):
    configuration = tmp_path / "jupyterhub_config.py"
    configuration.write_text("c.JupyterHub.base_url = '/campus/'\nc.Launcher.service_name = 'launch'\n")
    with start(tmp_path / "state", "--config", str(configuration)) as up:
        assert up.url.endswith("/campus")
        assert requests.get(f"{up.url}/services/launch/health", timeout=20).status_code == 200
        assert up.api("GET", f"/users/{up.user}").status_code == 200
        link = next(word for word in up.log.read_text().split() if "/hub/" in word)
        came = requests.get(link, timeout=20)
        assert came.url == f"{up.url}/hub/home"
        assert up.user in came.text

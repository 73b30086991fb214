"""Certificates of clusters."""

import ssl

from cryptography import x509

from launcher.dask.certificates import new_keypair


def test_a_certificate_names_its_cluster_and_belongs_to_its_key(tmp_path):
    certificate, key = new_keypair("c" * 32)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["c" * 32]
    (tmp_path / "dask.crt").write_bytes(certificate)
    (tmp_path / "dask.pem").write_bytes(key)
    for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH):
        context = ssl.create_default_context(purpose, cafile=tmp_path / "dask.crt")
        context.load_cert_chain(tmp_path / "dask.crt", tmp_path / "dask.pem")


def test_no_two_clusters_share_a_key():
    assert len({new_keypair("c" * 32)[1] for _ in range(5)}) == 5

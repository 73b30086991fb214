"""Opening a store: brought up to date, or refused with words for the operator."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from launcher.errors import ConfigurationInvalid, LauncherError, StateUnusable
from launcher.models import RepositoryId, Username
from launcher.store import Store
from launcher.store.database import make_engine, parse_url
from launcher.store.migrate import MIGRATIONS, migrate
from launcher.store.problems import file_system_of, refuse_network_file_system
from launcher.store.schema import metadata
from tests.support.postgresql import running_postgresql

ROOT = Path(__file__).parents[3]
ANA, REPOSITORY = Username("ana"), RepositoryId("gh:github.com/org/repo")
NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9999", "0003", None, None
def upgrade():
    op.create_table("novelty", sa.Column("id", sa.Integer, primary_key=True))
    {more}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "launcher.sqlite"


@pytest.fixture
def url(path) -> str:
    return f"sqlite:///{path}"


def newer_migrations(tmp_path: Path, more: str = "") -> Path:
    """Our migrations and one of the future."""
    directory = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "versions" / "r9999_next.py").write_text(NEXT.format(more=more))
    return directory


def refusal(url: str) -> StateUnusable:
    with pytest.raises(StateUnusable) as refused:
        Store.open(url)
    for words in (refused.value.message, refused.value.hint):
        assert words.endswith(".")
        assert "/" not in words.replace("--state", "")
        assert "sqlite3." not in words
    return refused.value


def test_the_migrations_make_exactly_the_tables_of_the_schema(url) -> None:
    Store.open(url).close()
    _assert_same_schema(url)


def test_the_migrations_make_exactly_the_tables_of_the_schema_on_postgresql() -> None:
    with running_postgresql() as cluster:
        url = cluster.fresh_database()
        Store.open(url).close()
        _assert_same_schema(url)


def _assert_same_schema(url: str) -> None:
    engine = make_engine(parse_url(url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_sqlite_keeps_its_promises_to_the_disk(url) -> None:
    with Store.open(url) as store, store._database.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_the_database_is_for_our_eyes_only(url, path) -> None:
    with Store.open(url) as store:
        store.trust_repository(ANA, REPOSITORY)
        files = list(path.parent.iterdir())
        assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://root:hunter22@host/db", "://hunter22",
        "postgresql://user:hunter22@host:port/db",
    ],
)  # fmt: skip
def test_a_url_we_cannot_use_is_refused_without_repeating_it(url) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        Store.open(url)
    assert "hunter22" not in f"{refused.value.message}{refused.value.hint}"


def test_a_postgresql_that_is_not_there_is_refused_without_its_password(tmp_path) -> None:
    with pytest.raises(StateUnusable) as refused:
        Store.open(f"postgresql://user:hunter22@/db?host={tmp_path}")
    assert "hunter22" not in f"{refused.value.message}{refused.value.hint}"


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(url, path, tmp_path) -> None:
    migrate(parse_url(url), newer_migrations(tmp_path))
    before = path.read_bytes()
    assert "newer version" in refusal(url).message
    assert path.read_bytes() == before


def test_an_upgrade_keeps_a_copy_of_the_database_as_it_was(url, path, tmp_path) -> None:
    with Store.open(url) as store:
        store.trust_repository(ANA, REPOSITORY)
    migrate(parse_url(url), newer_migrations(tmp_path))
    backup = path.with_name("launcher.sqlite.0003.backup")
    assert oct(backup.stat().st_mode & 0o777) == "0o600"
    assert _tables(path) - _tables(backup) == {"novelty"}
    with Store.open(f"sqlite:///{backup}") as store:
        assert store.is_mine(ANA, REPOSITORY)
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("more", ["raise RuntimeError", "op.execute('SELECT nothing FROM nowhere')"])
def test_an_upgrade_that_fails_half_way_changes_nothing(url, path, tmp_path, more) -> None:
    Store.open(url).close()
    with pytest.raises((RuntimeError, StateUnusable)):
        migrate(parse_url(url), newer_migrations(tmp_path, more))
    assert "novelty" not in _tables(path)
    Store.open(url).close()


def test_an_upgrade_that_leaves_rows_without_their_owner_is_undone(url, path, tmp_path) -> None:
    Store.open(url).close()
    more = "op.execute(\"INSERT INTO build_people VALUES ('ana', 77)\")"
    with pytest.raises(StateUnusable, match="belong to nothing"):
        migrate(parse_url(url), newer_migrations(tmp_path, more))
    assert "novelty" not in _tables(path)


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_file_that_is_no_database_is_refused_and_left_alone(url, path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my diary\n" * 1000)
    assert "something else" in refusal(url).message
    assert path.read_bytes() == b"my diary\n" * 1000


def test_a_damaged_database_is_refused(url, path) -> None:
    with Store.open(url) as store:
        for number in range(200):
            store.trust_repository(ANA, RepositoryId(f"gh:github.com/org/{number:0500d}"))
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    assert "damaged" in refusal(url).message


def test_tables_of_another_program_are_refused(url, path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE environments (x)")
    assert "something else" in refusal(url).message


def test_a_directory_in_the_place_of_the_database_is_refused(url, path) -> None:
    path.mkdir(parents=True)
    refusal(url)


def test_a_file_in_the_place_of_the_state_directory_is_refused(url, path) -> None:
    path.parent.write_text("")
    refusal(url)


def test_a_log_torn_by_a_power_cut_loses_what_was_not_finished_and_nothing_else(url, path, tmp_path) -> None:
    with Store.open(url) as store:
        store.trust_repository(ANA, REPOSITORY)
        saved = path.read_bytes(), path.with_name("launcher.sqlite-wal").read_bytes()
        store.trust_repository(ANA, RepositoryId("later"))
        longer = path.with_name("launcher.sqlite-wal").read_bytes()
    copy = tmp_path / "copy.sqlite"
    for cut in range(len(saved[1]), len(longer) + 1, max(1, (len(longer) - len(saved[1])) // 7)):
        copy.write_bytes(saved[0])
        copy.with_name("copy.sqlite-wal").write_bytes(longer[:cut])
        with Store.open(f"sqlite:///{copy}") as store:
            assert store.is_mine(ANA, REPOSITORY)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path, kind) -> None:
    with pytest.raises(StateUnusable, match="network file system"):
        refuse_network_file_system(tmp_path, lambda _: kind)
    refuse_network_file_system(tmp_path, lambda _: "ext4")


def test_the_file_system_of_a_directory_is_found() -> None:
    assert file_system_of(Path("/proc/self")) == "proc"


SCRIPT = """
import os, sys
from launcher.errors import StateUnusable
from launcher.models import RepositoryId, Username
from launcher.store import Store
state, deed = sys.argv[1:]
try:
    if deed == "fill":
        with Store.open(f"sqlite:///{state}/launcher.sqlite") as store:
            for number in range(100000):
                store.trust_repository(Username("ana"), RepositoryId(f"gh:{number:01000d}"))
    else:
        Store.open(f"sqlite:///{state}/launcher.sqlite").close()
except StateUnusable as error:
    print(error.message)
if deed == "fill":
    os.remove(f"{state}/ballast")
    with Store.open(f"sqlite:///{state}/launcher.sqlite") as store:
        kept = len(store.list_trusted(Username("ana")))
        store.trust_repository(Username("ana"), RepositoryId("after"))
        assert len(store.list_trusted(Username("ana"))) == kept + 1 > 1
        print("kept")
"""


def on_a_small_disk(directory: Path, prepare: str, deed: str) -> list[str]:
    """What SCRIPT says on a file system of its own, 4 MiB in memory, in a namespace nobody else sees."""
    mount = 'mount -t tmpfs -o size=4m tmpfs "$1"'
    script = f'{mount} && {prepare} && exec "$2" -c "$3" "$1" {deed}'
    inside = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*inside, mount, "sh", directory], check=False, capture_output=True).returncode != 0:
        pytest.skip("no unprivileged mount namespaces here, so no disk to fill")
    answer = subprocess.run(
        [*inside, script, "sh", directory, sys.executable, SCRIPT],
        check=True, cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return answer.stdout.splitlines()


def test_a_full_disk_is_said_and_everything_before_it_is_kept(tmp_path) -> None:
    said = on_a_small_disk(tmp_path, 'head -c 1m /dev/zero > "$1/ballast"', "fill")
    assert said == ["The disk with the state directory is full.", "kept"]


@pytest.mark.parametrize("prepare", ["true", '"$2" -c "$3" "$1" open'])
def test_a_read_only_state_directory_is_refused(tmp_path, prepare) -> None:
    said = on_a_small_disk(tmp_path, f'{prepare} && mount -o remount,ro "$1"', "open")
    assert said == ["The state directory cannot be written."]


def test_a_locked_database_is_said_not_thrown(url, path) -> None:
    with Store.open(url) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with store._database._engine.connect() as connection:  # do not wait five seconds in a test
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
        with pytest.raises(StateUnusable, match="locked"):
            store.trust_repository(ANA, REPOSITORY)
        assert not store.is_mine(ANA, REPOSITORY)
        other.execute("ROLLBACK")
        store.trust_repository(ANA, REPOSITORY)


def test_our_own_mistakes_are_not_blamed_on_the_disk(url) -> None:
    with Store.open(url) as store, pytest.raises(sa.exc.IntegrityError), store._database.write() as connection:
        connection.exec_driver_sql("INSERT INTO build_people VALUES ('ana', 77)")


def test_an_error_inside_a_transaction_undoes_it(url) -> None:
    with Store.open(url) as store:
        with pytest.raises(LauncherError):
            _delete_and_fail(store)
        with store._database.read() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0003"


def _delete_and_fail(store: Store) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
        raise LauncherError("never mind")

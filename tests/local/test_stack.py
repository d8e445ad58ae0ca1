"""The local servers: start, faults, detached life, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from local import process as processes
from local.errors import LocalStackError, PortTakenError
from local.keeper import Keeper
from local.ports import HOST, free_port, is_free
from local.process import Identity
from local.stack import Stack, down, load_state, status, up
from local.state import ServerState, State, save_state
from tests.support import wait_until
from tests.topics import asked, read_messages

ROOT = Path(__file__).resolve().parents[2]
GONE_TIMEOUT_S = 10.0

# A parent that does nothing but have a server; the test ends it in every way a process can end.
PARENT = """
import sys, time
from pathlib import Path
from local.stack import Stack
with Stack(Path(sys.argv[1]), services=("redis",)) as stack:
    print(stack.servers["redis"].process.pid, flush=True)
    time.sleep(600)
"""


def redis_stack(directory: Path) -> Stack:
    return Stack(directory, services=("redis",))


@pytest.fixture
def parent(tmp_path):
    """A process with a stack in the foreground, and the id of its server."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    server = psutil.Process(int(process.stdout.readline()))
    yield process, server
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def folder(tmp_path):
    """A folder for `up`, with `down` at the end whatever happened."""
    yield tmp_path
    down(tmp_path)


def test_each_server_answers_where_env_says(servers, kafka_admin, redis_client, opensearch_client):
    assert set(servers.env()) == {"FRAUD_KAFKA_BOOTSTRAP", "FRAUD_REDIS_URL", "FRAUD_OPENSEARCH_URL"}
    assert len(asked(lambda: kafka_admin.list_topics(timeout=10)).brokers) == 1
    assert redis_client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert redis_client.config_get("appendonly")["appendonly"] == "no"
    assert opensearch_client.info()["version"]["distribution"] == "opensearch"


def test_servers_listen_on_the_loopback_address_alone(servers):
    for server in servers.servers.values():
        listening = [c for c in server.process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert server.port in {connection.laddr.port for connection in listening}
        assert {connection.laddr.ip for connection in listening} <= {HOST, f"::ffff:{HOST}"}


def test_an_index_can_be_made_and_searched(opensearch_client, unique):
    index = f"{unique}documents"
    opensearch_client.index(index=index, id="a", body={"amount": 5}, refresh=True)
    assert opensearch_client.count(index=index)["count"] == 1
    opensearch_client.indices.delete(index=index)


@pytest.mark.slow
def test_kafka_keeps_its_records_when_killed_and_restarted(servers, make_topic, unique):
    topic = make_topic(f"{unique}records", partitions=1)
    address = servers.env()["FRAUD_KAFKA_BOOTSTRAP"]
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, b"value")
    assert producer.flush(20) == 0

    servers.kill("kafka")
    assert not servers.alive("kafka")
    servers.restart("kafka")

    assert servers.env()["FRAUD_KAFKA_BOOTSTRAP"] == address
    (message,) = read_messages({"bootstrap.servers": address}, topic, bool)
    assert message.value() == b"value"


@pytest.mark.slow
def test_opensearch_keeps_its_documents_when_killed_and_restarted(servers, opensearch_client, unique):
    index = f"{unique}kept"
    opensearch_client.index(index=index, id="a", body={"amount": 5})
    servers.kill("opensearch")
    servers.restart("opensearch")
    assert opensearch_client.get(index=index, id="a")["_source"] == {"amount": 5}


def test_a_suspended_server_is_silent_until_it_is_resumed(tmp_path):
    with redis_stack(tmp_path) as stack:
        client = Redis.from_url(stack.env()["FRAUD_REDIS_URL"], socket_timeout=0.3, retry=None)
        stack.suspend("redis")
        with pytest.raises(RedisTimeoutError):
            client.ping()
        assert stack.alive("redis")
        stack.resume("redis")
        assert client.ping()
        client.close()


def test_a_suspended_server_is_stopped_all_the_same(tmp_path):
    stack = redis_stack(tmp_path)
    stack.start()
    server = stack.servers["redis"].process
    stack.suspend("redis")
    stack.stop()
    assert not processes.is_alive(server)


def test_redis_comes_back_at_the_same_port_without_its_data(tmp_path):
    with redis_stack(tmp_path) as stack, Redis.from_url(stack.env()["FRAUD_REDIS_URL"]) as client:
        client.set("key", "value")
        stack.kill("redis")
        stack.restart("redis")
        assert client.get("key") is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_its_parent(parent, end):
    process, server = parent
    assert processes.is_alive(server)
    process.send_signal(end)
    process.wait(GONE_TIMEOUT_S)
    wait_until(lambda: not processes.is_alive(server), GONE_TIMEOUT_S)


def test_a_fork_that_holds_the_pipe_does_not_keep_the_servers_alive(tmp_path):
    script = PARENT.replace("import sys", "import os, sys").replace(
        "    time.sleep(600)",
        "    if child := os.fork():\n"
        "        print(child, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    time.sleep(600)",
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        server, fork = (psutil.Process(int(process.stdout.readline())) for _ in range(2))
        process.wait(GONE_TIMEOUT_S)
        try:
            wait_until(lambda: not processes.is_alive(server), GONE_TIMEOUT_S)
            assert processes.is_alive(fork)
        finally:
            fork.kill()


def test_a_program_that_cannot_be_started_is_named(tmp_path):
    keeper = Keeper()
    with pytest.raises(LocalStackError, match="no-such-program"):
        keeper.spawn(["/no-such-program"], tmp_path / "log", tmp_path)
    keeper.close()


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(tmp_path, monkeypatch):
    stack = redis_stack(tmp_path)
    server = stack.servers["redis"]
    monkeypatch.setattr(server, "command", lambda: [sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"])
    with pytest.raises(LocalStackError, match="redis ended while starting") as caught:
        stack.start()
    assert "out of luck" in str(caught.value)
    assert str(server.log) in str(caught.value)


def test_a_server_that_does_not_answer_is_reported_and_ended(tmp_path, monkeypatch):
    stack = redis_stack(tmp_path)
    server = stack.servers["redis"]
    monkeypatch.setattr(type(server), "start_timeout_s", 0.5)
    monkeypatch.setattr(
        server, "command", lambda: [sys.executable, "-c", f"import time; time.sleep({600 + os.getpid()})"]
    )
    with pytest.raises(LocalStackError, match="did not answer"):
        stack.start()
    assert not [p for p in psutil.process_iter(["cmdline"]) if f"sleep({600 + os.getpid()})" in str(p.info["cmdline"])]


def test_a_taken_port_that_was_asked_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("local.server._PORT_RELEASE_S", 0.1)
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortTakenError, match=str(port)):
            Stack(tmp_path, redis_port=port, services=("redis",)).start()


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path, monkeypatch):
    with socket.create_server((HOST, 0)) as holder:
        taken = holder.getsockname()[1]
        ports = iter([taken, free_port()])
        stack = redis_stack(tmp_path)
        monkeypatch.setattr(stack.servers["redis"], "choose_port", lambda: next(ports))
        with stack:
            assert stack.servers["redis"].port != taken


def test_another_server_on_the_port_is_not_taken_for_ours(tmp_path):
    with redis_stack(tmp_path / "a") as first:
        second = redis_stack(tmp_path / "b").servers["redis"]
        second.port = first.servers["redis"].port
        with pytest.raises(PortTakenError):
            second.answers()


def test_an_opensearch_port_out_of_range_is_refused(tmp_path):
    with pytest.raises(LocalStackError, match="between 9201 and 9299"):
        Stack(tmp_path, opensearch_port=9400, services=("opensearch",)).start()


def test_one_folder_has_one_stack(tmp_path):
    with redis_stack(tmp_path), pytest.raises(LocalStackError, match="in use"):
        redis_stack(tmp_path).start()


def test_an_unknown_service_is_refused(tmp_path):
    with pytest.raises(LocalStackError, match="mysql"):
        Stack(tmp_path, services=("mysql",))


def test_up_outlives_its_caller_until_down(folder):
    script = (
        "import sys; from pathlib import Path; from local.stack import up; up(Path(sys.argv[1]), services=('redis',))"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60
    )
    state = load_state(folder)
    with Redis.from_url(state.env["FRAUD_REDIS_URL"]) as client:
        assert client.ping()
    assert status(folder)["redis"].running

    assert down(folder) == ["redis"]
    assert processes.find(state.servers["redis"].identity) is None
    assert status(folder) == {}
    assert down(folder) == []


def test_up_again_leaves_what_runs_and_starts_what_died(folder):
    first = up(folder, services=("redis",))
    assert up(folder, services=("redis",)) == first

    processes.kill(processes.find(first.servers["redis"].identity))
    assert not status(folder)["redis"].running
    again = up(folder, services=("redis",))
    assert again.env == first.env
    assert again.servers["redis"].identity != first.servers["redis"].identity


def test_up_refuses_another_port_than_the_running_one(folder):
    up(folder, services=("redis",))
    with pytest.raises(LocalStackError, match="runs already"):
        up(folder, redis_port=free_port(), services=("redis",))
    assert status(folder)["redis"].running


def test_a_reused_process_id_is_never_killed(folder):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        earlier = Identity(bystander.pid, psutil.Process(bystander.pid).create_time() - 60)
        save_state(folder, State(env={}, servers={"redis": ServerState(earlier, 6379, "server.log")}))
        try:
            assert down(folder) == []
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_damaged_note_is_reported(tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(LocalStackError, match=r"state\.json"):
        status(tmp_path)

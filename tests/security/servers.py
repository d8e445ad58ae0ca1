"""Servers that ask who is there: Kafka with SASL, TLS and ACLs, and a TLS door in front of any other server."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from local.kafka import Kafka
from local.ports import HOST, free_port

_ANSWER_S = 20.0
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "Alter": AclOperation.ALTER,
}


class Certificates:
    """An authority and what it has signed, as files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority, self._folder = trustme.CA(), folder
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        server = self.authority.issue_cert(HOST, "localhost")
        self.server = self._file("server.pem", key_of(server), *(c.bytes() for c in server.cert_chain_pems))

    def client(self, name: str, password: str) -> tuple[Path, Path]:
        """Certificate and encrypted key of a client."""
        issued = self.authority.issue_cert(f"{name}.example.com", common_name=name)
        certificate = self._file(f"{name}.pem", *(c.bytes() for c in issued.cert_chain_pems))
        return certificate, self._file(f"{name}.key", key_of(issued, password))

    def _file(self, name: str, *parts: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(b"".join(parts))
        return path


def key_of(issued: trustme.LeafCert, password: str = "") -> bytes:
    """The private key as PKCS 8, which is what Kafka takes."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


class SecureKafka(Kafka):
    """Kafka with two more doors, `sasl` and `mutual`; who comes in there may do what an ACL allows and nothing else."""

    certificates: Certificates

    def _properties(self, data: Path) -> dict[str, str | int]:
        properties = super()._properties(data)
        self.sasl, self.mutual = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        doors = f"SASL://{self.sasl},MUTUAL://{self.mutual}"
        return {
            **properties,
            "listeners": f"{properties['listeners']},{doors}",
            "advertised.listeners": f"{properties['advertised.listeners']},{doors}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def admin(self) -> AdminClient:
        """A client that may do everything, through the door that asks nobody."""
        return AdminClient({"bootstrap.servers": self.address})

    def add_user(self, name: str, password: str) -> None:
        """Let somebody log in; what they may do is another matter."""
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, credential, password.encode())
        admin = self.admin()
        for done in admin.alter_user_scram_credentials([change]).values():
            done.result(_ANSWER_S)

    def allow(self, user: str, rights: Mapping[tuple[str, str], list[str]]) -> None:
        """Give rights: (`topic` or `group`, name) -> operations."""
        kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
        bindings = [
            AclBinding(
                kinds[kind], name, ResourcePatternType.LITERAL, f"User:{user}", "*",
                _OPERATIONS[operation], AclPermissionType.ALLOW,
            )
            for (kind, name), operations in rights.items()
            for operation in operations
        ]  # fmt: skip
        admin = self.admin()
        for done in admin.create_acls(bindings).values():
            done.result(_ANSWER_S)


class TlsDoor:
    """Takes TLS connections and passes their bytes on to a port in the clear.

    Args:
        certificate: PEM file with the key and the chain.
        port: what is behind the door.
    """

    def __init__(self, certificate: Path, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._behind, self.port = port, free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._pass_on, HOST, self.port, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(_ANSWER_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_ANSWER_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(HOST, self._behind)
        try:
            await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))
        finally:
            writer.transport.abort()
            behind_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()

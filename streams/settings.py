"""The one settings object: environment variables with the prefix `FRAUD_`, then a `.env` file, then defaults."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.errors import ConfigError

PREFIX = "FRAUD_"


class Settings(BaseSettings):
    """What is in force. Every field is the variable `FRAUD_<FIELD>`; the description is its documentation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    kafka_bootstrap: str = Field("localhost:9092", min_length=1, description="Kafka brokers, host:port[,host:port]")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to Kafka"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="how to log in"
    )
    kafka_sasl_username: str = Field("", description="SASL user")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password")
    kafka_ssl_ca: str = Field("", description="path of the CA certificate (PEM) for Kafka")
    kafka_ssl_certificate: str = Field("", description="path of the client certificate (PEM) for Kafka")
    kafka_ssl_key: str = Field("", description="path of the client key (PEM) for Kafka")
    kafka_ssl_key_password: SecretStr = Field(SecretStr(""), description="password of the client key")

    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="redis:// or rediss:// URL, with ACL user and password"
    )
    redis_ssl_ca: str = Field("", description="path of the CA certificate (PEM) for a rediss:// URL")

    opensearch_url: SecretStr = Field(SecretStr("http://localhost:9200"), description="OpenSearch, http(s)://host:port")
    opensearch_username: str = Field("", description="basic auth user")
    opensearch_password: SecretStr = Field(SecretStr(""), description="basic auth password")
    opensearch_ssl_ca: str = Field("", description="path of the CA certificate (PEM) for OpenSearch")

    model: str = Field(
        "model", min_length=1, description="model folder, or a model of the registry: models:/fraud@champion"
    )
    rules: str = Field("", description="rules file or folder; empty: the model alone decides")
    registry: SecretStr = Field(
        SecretStr(""), description="MLflow server or database of the registry; empty: SQLite in FRAUD_REGISTRY_DIR"
    )
    registry_dir: str = Field(
        "registry", min_length=1, description="folder of the models taken from the registry, and of their names"
    )
    lifecycle: str = Field("", description="YAML file of gates, alarms and retraining rules; empty: the defaults")

    challenger: str = Field("", description="folder of another model, which scores beside the model; empty: none")
    shadow_share: float = Field(
        1.0, ge=0, le=1, description="share of the transactions that the challenger scores without effect"
    )
    canary_share: float = Field(0.0, ge=0, le=1, description="share of the cards that the challenger decides")

    alerts: str = Field("alerts.yaml", min_length=1, description="file of alert channels and routes")
    alerts_dir: str = Field(
        "alerts", min_length=1, description="folder of alerts that are not delivered yet, and of those given up"
    )
    alerts_dry_run: bool = Field(False, description="log alerts instead of sending them")  # noqa: FBT003 - a default

    pan_key: SecretStr = Field(
        SecretStr(""),
        description="key of the card-number tokens, at least 32 bytes; without it such records are refused",
    )
    pan_keys_old: SecretStr = Field(
        SecretStr(""),
        description="older keys, whose tokens still find their histories; at least 32 bytes each, joined by commas",
    )

    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", description="put before every topic name")
    group_prefix: str = Field("fraud", pattern=r"^[A-Za-z0-9._-]+$", description="put before every consumer group")
    key_prefix: str = Field("", pattern=r"^[^{}\s]*$", description="put before every Redis key")
    index_prefix: str = Field("", pattern=r"^([a-z0-9][a-z0-9._-]*)?$", description="put before every OpenSearch index")
    partitions: int = Field(4, ge=1, le=10_000, description="partitions of the in and out topics")
    replication_factor: int = Field(1, ge=1, le=32767, description="replicas of the topics that setup creates")

    console_host: str = Field("127.0.0.1", min_length=1, description="address that the console listens on")
    console_port: int = Field(8800, ge=0, le=65535, description="port of the console; 0: a free port, logged")
    console_users: str = Field("console-users.yaml", min_length=1, description="users file of the console")
    console_session_s: int = Field(
        8 * 3600, ge=60, le=7 * 86_400, description="how long a login to the console lasts at most"
    )
    console_idle_s: int = Field(3600, ge=60, le=7 * 86_400, description="how long it lasts without a request")
    console_claim_s: int = Field(900, ge=10, le=86_400, description="how long a claimed case stays claimed unattended")
    console_proxies: str = Field(
        "",
        description="addresses or networks of proxies before the console, joined by commas; only they are believed",
    )
    console_proxy_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]*$", description="header in which these proxies name who is logged in; empty: none"
    )
    console_ssl_certificate: str = Field("", description="path of the certificate (PEM) that the console shows")
    console_ssl_key: str = Field("", description="path of its key (PEM)")

    http_port: int = Field(0, ge=0, le=65535, description="health and metrics of a role; 0: a free port, logged")
    http_host: str = Field("127.0.0.1", description="address that health and metrics listen on")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity logged")

    grace_s: int = Field(86_400, ge=0, le=30 * 86_400, description="lateness up to which windows are exact")
    clock_skew_s: int = Field(300, ge=0, le=86_400, description="how far an event time may lie in the future")
    hot_card_records: int = Field(
        4096, ge=16, le=1_000_000, description="records that a card's history keeps singly; older ones are folded"
    )
    on_store_loss: Literal["wait", "degrade"] = Field(
        "wait", description="while Redis is out of reach: wait for it, or score without history and repair afterwards"
    )
    deadline_ms: int = Field(
        0, ge=0, description="milliseconds that scoring a batch may take; outcomes beyond are flagged; 0: no limit"
    )
    max_batch: int = Field(4000, ge=1, le=10_000, description="records scored together at most")
    sample_s: int = Field(
        30, ge=0, le=3600, description="seconds between samples of the consumer lag for dashboards; 0: none"
    )
    retention_days: int = Field(
        0, ge=0, le=36_500, description="days that outcomes stay in OpenSearch; 0: until they are deleted by hand"
    )
    dashboards_url: SecretStr = Field(
        SecretStr("http://localhost:5601"), description="OpenSearch Dashboards, http(s)://host:port; empty: none"
    )
    console_url: str = Field(
        "http://localhost:8800", description="the review console, to which the dashboards link; empty: no links"
    )
    startup_wait_s: Annotated[float, Field(ge=0)] = Field(
        45.0, description="how long a role waits at its start for a server that is away; 0: for ever"
    )

    @field_validator(
        "kafka_ssl_ca",
        "kafka_ssl_certificate",
        "kafka_ssl_key",
        "redis_ssl_ca",
        "opensearch_ssl_ca",
        "console_ssl_certificate",
        "console_ssl_key",
        mode="after",
    )
    @classmethod
    def _file_is_there(cls, path: str) -> str:
        if path and not Path(path).is_file():
            raise ValueError("there is no such file")
        return path

    @model_validator(mode="after")
    def _pan_key_is_long_enough(self) -> Self:
        key = self.pan_key.get_secret_value()
        if key and len(key.encode()) < 32:
            raise ValueError(f"{PREFIX}PAN_KEY must be at least 32 bytes; make one with: openssl rand -hex 32")
        return self

    @model_validator(mode="after")
    def _old_pan_keys_are_keys(self) -> Self:
        keys = self.old_pan_keys()
        if keys and not self.pan_key.get_secret_value():
            raise ValueError(f"{PREFIX}PAN_KEYS_OLD is set, but {PREFIX}PAN_KEY is not: older keys make no tokens")
        if any(len(key) < 32 or key != key.strip() for key in keys):
            raise ValueError(f"{PREFIX}PAN_KEYS_OLD: each key must be at least 32 bytes, joined by commas alone")
        return self

    @model_validator(mode="after")
    def _proxies_are_addresses(self) -> Self:
        try:
            networks = self.console_networks()
        except ValueError as exc:
            raise ValueError(f"{PREFIX}CONSOLE_PROXIES: {exc}") from None
        if self.console_proxy_header and not networks:
            raise ValueError(f"{PREFIX}CONSOLE_PROXY_HEADER is set, but {PREFIX}CONSOLE_PROXIES names no proxy")
        if bool(self.console_ssl_certificate) != bool(self.console_ssl_key):
            raise ValueError(f"{PREFIX}CONSOLE_SSL_CERTIFICATE and {PREFIX}CONSOLE_SSL_KEY go together")
        return self

    def console_networks(self) -> list[IPv4Network | IPv6Network]:
        """The proxies that the console believes; raises ValueError for what is no address."""
        return [ip_network(part.strip()) for part in self.console_proxies.split(",") if part.strip()]

    def old_pan_keys(self) -> list[bytes]:
        """The older keys of the card-number tokens, in their order."""
        joined = self.pan_keys_old.get_secret_value()
        return [key.encode() for key in joined.split(",")] if joined else []

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.topic_prefix}{name}"

    def group(self, role: str) -> str:
        """A role's consumer group."""
        return f"{self.group_prefix}-{role}"

    def kafka(self) -> dict[str, str]:
        """What librdkafka needs to reach the brokers; empty settings are left to its defaults."""
        values = {
            "bootstrap.servers": self.kafka_bootstrap,
            "security.protocol": self.kafka_security_protocol.lower(),
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password.get_secret_value(),
            "ssl.ca.location": self.kafka_ssl_ca,
            "ssl.certificate.location": self.kafka_ssl_certificate,
            "ssl.key.location": self.kafka_ssl_key,
            "ssl.key.password": self.kafka_ssl_key_password.get_secret_value(),
        }
        return {name: value for name, value in values.items() if value}


def load_settings(env_file: Path | None = Path(".env")) -> Settings:
    """Read the settings; raises ConfigError with one line that names each wrong variable."""
    try:
        return Settings(_env_file=env_file)  # type: ignore[call-arg]  # pydantic-settings' own keyword
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{env_file} cannot be read as UTF-8 text: {exc}") from None
    except ValidationError as exc:
        raise ConfigError("; ".join(map(_problem, exc.errors(include_input=False, include_url=False)))) from None


def _problem(error: ErrorDetails) -> str:
    """One wrong variable; "Value error, " is pydantic's own prefix to what our validators say."""
    said = error["msg"].removeprefix("Value error, ")
    name = "_".join(str(part) for part in error["loc"]).upper()
    return f"{PREFIX}{name}: {said}" if name else said

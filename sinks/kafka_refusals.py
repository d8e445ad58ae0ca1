"""What no waiting can mend: Kafka refuses the login, the certificate, or the right to do something.

librdkafka goes on trying after a refusal and only times out towards its caller; the refusal itself is told to the
`error_cb` alone. So whoever meets Kafka gives a `Refusals` there and asks it when an answer did not come.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import Consumer, KafkaError
from confluent_kafka.admin import AdminClient

from features.errors import ConfigError

_LOGIN: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's own codes are public under these names only
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)
_RIGHTS: Final = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
# What OpenSSL says of the broker's certificate, of ours, and of a port that speaks no TLS.
_TLS: Final = {
    ("certificate verify failed",): "FRAUD_KAFKA_SSL_CA: the certificate of Kafka is not trusted",
    (
        "alert certificate",
        "alert bad certificate",
        "alert unknown ca",
        "alert unsupported certificate",
    ): "FRAUD_KAFKA_SSL_CERTIFICATE: Kafka refuses the client's certificate, or wants one",
    ("wrong version number", "packet length too long"): "FRAUD_KAFKA_SECURITY_PROTOCOL: this port speaks no TLS",
}


class Refusals:
    """An `error_cb` that keeps the first refusal; safe in any thread."""

    def __init__(self) -> None:
        self._refusal: ConfigError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Look at what librdkafka complains about."""
        self._refusal = self._refusal or refusal_of(error)

    def check(self, client: AdminClient | Consumer) -> None:
        """Raise ConfigError where Kafka has refused the client something; the client must not be assigned anything."""
        client.poll(0)  # callbacks are served from here, not while an answer is waited for
        if self._refusal is not None:
            raise self._refusal


def refusal_of(error: KafkaError) -> ConfigError | None:
    """The error in our own words, naming the variable; None for what may heal."""
    code, text = error.code(), error.str()
    if code in _LOGIN:
        mechanism = "Unsupported SASL mechanism" in text
        named = "FRAUD_KAFKA_SASL_MECHANISM" if mechanism else "FRAUD_KAFKA_SASL_USERNAME and FRAUD_KAFKA_SASL_PASSWORD"
        return ConfigError(f"{named}: Kafka refuses the login ({text})")
    if code == KafkaError.UNSUPPORTED_SASL_MECHANISM:
        return ConfigError(f"FRAUD_KAFKA_SASL_MECHANISM: Kafka does not take it ({text})")
    if code in _RIGHTS:
        return ConfigError(f"FRAUD_KAFKA_SASL_USERNAME: this Kafka user lacks a right, see docs/security.md ({text})")
    said = text.lower()
    for signs, meaning in _TLS.items():
        if any(sign in said for sign in signs):
            return ConfigError(f"{meaning} ({text})")
    return None

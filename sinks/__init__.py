"""Where outcomes go: confirmed Kafka publish, dead letters, OpenSearch."""

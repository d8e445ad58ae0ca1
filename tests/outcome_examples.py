"""Outcomes as they stand in `processed_transactions`."""

# Every field of the contract at once, also those that never meet in one record.
WHOLE_OUTCOME = b"""{
 "transaction_id": "tx-1", "card_id": "tok_a", "card_last4": "1111", "type": "authorization",
 "original_transaction_id": "tx-0", "amount": 12.30, "amount_minor": 1230, "currency": "EUR",
 "event_time": "2026-01-02T03:04:05.678Z", "merchant_id": "m-1", "merchant_category": "5411", "country": "DE",
 "channel": "web", "device_id": "d-1", "ip_address": "192.0.2.7", "email": "someone@example.org",
 "fraud": {
  "score": 912, "probability": 0.9120000000000001, "outcome": "block", "rule": "velocity",
  "reasons": [{"code": "R01", "text": "many in ten minutes", "feature": "num_trans_last_10m", "value": 7},
              {"code": "R02", "text": "a new category", "feature": "merchant_category", "value": "5411"}],
  "features": {"num_trans_last_10m": 7, "avg_amt_last_10m": 0.1, "first_category": true},
  "model": "m1", "ruleset": "r1", "feature_set": "f1", "scored_at": "2026-01-02T03:04:06.000Z", "latency_ms": 12,
  "source": {"topic": "transactions", "partition": 3, "offset": 9007199254740993},
  "late_by_ms": 1500, "clock_skew_ms": 400, "beyond_grace": true, "duplicate": true, "conflict": true,
  "dropped_fields": ["email"], "degraded": "store_unavailable", "reversed": "tx-0", "reversal": "applied"
 }}"""

REVERSAL = b"""{
 "transaction_id": "rv-1", "card_id": "tok_a", "type": "reversal", "original_transaction_id": "tx-1",
 "amount": 5, "amount_minor": 5, "currency": "JPY", "event_time": "2026-01-02T03:04:05.678Z",
 "fraud": {"outcome": "approve", "rule": null, "model": "m1", "ruleset": "r1", "feature_set": "f1",
  "reversed": "tx-1", "reversal": "applied", "scored_at": "2026-01-02T03:04:06.000Z", "latency_ms": 12,
  "source": {"topic": "transactions", "partition": 3, "offset": 8}}}"""

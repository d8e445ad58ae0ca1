"""An event spelled as the contract's JSON in one of many ways, all of which decode to exactly that event."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from .naive import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSETS_MINUTES = (0, 60, -300, 330, -570, 765, -720, 840)
_FIELDS_NOT_A_STRING = ("[]", "{}", "true", "12", "1.5")
_MAX_MINOR = 10**15


def wire(event: Event, rng: random.Random | None = None) -> bytes:
    """The event as a record's value.

    Args:
        event: What must come out of decoding. Its time must be what the contract calls effective: publish it with a
            record timestamp that is not more than the allowed skew before it.
        rng: Chooses the spelling; None gives the plainest one.
    """
    if rng is None:
        return _plain(event)
    spelled = {
        "transaction_id": _string(rng, event.transaction_id),
        "card_id": _string(rng, event.card),
        "amount": _amount(rng, event),
        "currency": _string(rng, event.currency),
        "event_time": _time(rng, event.t_ms),
    }
    if event.kind == "reversal":
        spelled["type"] = '"reversal"'
        spelled["original_transaction_id"] = _string(rng, event.original or "")
    elif rng.random() < 0.3:
        spelled["type"] = '"authorization"'
    for name, value in (("merchant_category", event.mcc), ("country", event.country)):
        if value is not None:
            spelled[name] = _string(rng, value)
        elif rng.random() < 0.1:  # of a wrong type or too long: left out by the decoder, hence missing
            spelled[name] = rng.choice((*_FIELDS_NOT_A_STRING, json.dumps("x" * 257)))
    return _object(rng, spelled).encode()


def _plain(event: Event) -> bytes:
    fields = {
        "transaction_id": event.transaction_id,
        "card_id": event.card,
        "amount": _decimal_text(event),
        "currency": event.currency,
        "event_time": event.t_ms,
    }
    if event.kind == "reversal":
        fields |= {"type": "reversal", "original_transaction_id": event.original or ""}
    if event.mcc is not None:
        fields["merchant_category"] = event.mcc
    if event.country is not None:
        fields["country"] = event.country
    return json.dumps(fields).encode()


def _string(rng: random.Random, text: str) -> str:
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)


def _object(rng: random.Random, spelled: dict[str, str]) -> str:
    members = [f'"{name}"{rng.choice(("", " "))}:{rng.choice(("", " "))}{value}' for name, value in spelled.items()]
    rng.shuffle(members)
    if rng.random() < 0.1:
        members.insert(rng.randrange(len(members)), '"x_unknown": {"amount": [1, null, "\\u00e9"], "card_id": 7}')
    if rng.random() < 0.1:  # of a repeated key the last one counts
        members.insert(0, rng.choice(('"amount": 0.07', '"event_time": 86400000', '"currency": "EUR"')))
    space = rng.choice(("", " ", "\n  "))
    return "{" + f",{space}".join(members) + rng.choice(("", "\n")) + "}"


def _decimal_text(event: Event) -> str:
    return format(Decimal(event.amount_minor).scaleb(-event.exponent), "f")


def _amount(rng: random.Random, event: Event) -> str:
    spell = rng.choice((_as_is, _as_is, _trailing_zeros, _no_zeros, _exponent, _to_be_rounded))
    text = spell(rng, event)
    return f'"{text}"' if rng.random() < 0.5 else text


def _as_is(_rng: random.Random, event: Event) -> str:
    return _decimal_text(event)


def _trailing_zeros(rng: random.Random, event: Event) -> str:
    text = _decimal_text(event)
    return text + ("" if "." in text else ".") + "0" * rng.randint(1, 6)


def _no_zeros(_rng: random.Random, event: Event) -> str:
    text = _decimal_text(event)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exponent(rng: random.Random, event: Event) -> str:
    shift = rng.randint(-6, 6)
    mantissa = format(Decimal(event.amount_minor).scaleb(shift - event.exponent), "f")
    return f"{mantissa}{rng.choice('eE')}{rng.choice(('', '+')) if shift <= 0 else ''}{-shift}"


def _to_be_rounded(rng: random.Random, event: Event) -> str:
    """Finer than a minor unit; half-even brings it back."""
    fractions = ["0.4999999999", "-0.4999999999", "0.000000000001"]
    if event.amount_minor % 2 == 0:
        fractions += ["0.5", "-0.5", "0.50"]
    if event.amount_minor == _MAX_MINOR:
        fractions = ["-0.25"]
    return format((Decimal(event.amount_minor) + Decimal(rng.choice(fractions))).scaleb(-event.exponent), "f")


def _time(rng: random.Random, t_ms: int) -> str:
    if rng.random() < 0.25:
        return str(t_ms)
    offset = rng.choice(_OFFSETS_MINUTES)
    local = (_EPOCH + timedelta(milliseconds=t_ms)).astimezone(timezone(timedelta(minutes=offset)))
    zone = _zone(rng, offset)
    day_and_time = f"{local:%Y-%m-%d}{rng.choice('T ')}{local:%H:%M:%S}"
    return f'"{day_and_time}{_fraction(rng, t_ms % 1000)}{zone}"'


def _zone(rng: random.Random, offset_minutes: int) -> str:
    if offset_minutes == 0:
        return rng.choice(("Z", "", "+00:00"))
    hours, minutes = divmod(abs(offset_minutes), 60)
    return f"{'-' if offset_minutes < 0 else '+'}{hours:02d}:{minutes:02d}"


def _fraction(rng: random.Random, ms: int) -> str:
    three = f"{ms:03d}"
    spellings: list[Callable[[], str]] = [
        lambda: "." + three,
        lambda: "." + three + "".join(rng.choices("0123456789", k=rng.randint(1, 6))),  # cut off
        lambda: "." + three + "999999",
    ]
    shortest = three.rstrip("0")
    spellings.append(lambda: "." + shortest if shortest else "")
    return rng.choice(spellings)()

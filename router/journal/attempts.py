"""Attempts of a request, as its log record and the response's header list them."""

from collections.abc import Sequence

from router.attempt import Attempt


def tried(attempt: Attempt) -> dict[str, object]:
    """Return an attempt for the log, without fields that are unknown or empty."""
    made: dict[str, object] = {"target": attempt.target, "outcome": attempt.outcome, "seconds": attempt.seconds}
    if attempt.route:
        made["route"] = attempt.route
    if attempt.first is not None:
        made["first_token_seconds"] = attempt.first
    if attempt.wait is not None:
        made["retry_after_seconds"] = attempt.wait
    if attempt.omitted:
        made["omitted"] = list(attempt.omitted)
    if attempt.output:
        made["output"] = attempt.output
    return made


def header(attempts: Sequence[Attempt]) -> bytes:
    """Return the attempts as a structured field (RFC 9651), e.g. `"gpt";outcome=status_429;seconds=0.210;wait=2.0`.

    `omitted="temperature top_p"` lists parameters that the target was not sent; `output=json_object` names the way in which the form of the
    answer was emulated.
    """
    items: list[str] = []
    for one in attempts:
        wait = "" if one.wait is None else f";wait={one.wait:.1f}"
        omitted = f';omitted="{" ".join(one.omitted)}"' if one.omitted else ""
        output = f";output={one.output}" if one.output not in ("", "native") else ""
        items.append(f'"{one.target}";outcome={one.outcome};seconds={one.seconds:.3f}{wait}{omitted}{output}')
    return ", ".join(items).encode()

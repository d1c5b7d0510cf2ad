"""Fuzzers: one function for each reader of foreign bytes, run with inputs that hypothesis generates.

tests/system/test_fuzz.py runs each for a few hundred examples, `make fuzz` for minutes.
"""

from tests.support.fuzzers.clients import (
    addresses_of_clients,
    bodies_of_requests,
    credentials_of_callers,
    headers_of_requests,
    keys_of_issuers,
    requests_at_the_door,
)
from tests.support.fuzzers.operators import configurations, values_of_configurations
from tests.support.fuzzers.providers import (
    answers_of_anthropic,
    answers_of_gemini,
    answers_of_the_openai_wire,
    answers_without_a_stream,
    refusals_of_providers,
    responses_of_providers,
    server_sent_events,
)
from tests.support.fuzzers.replicas import answers_that_were_kept, events_that_were_kept, heads_of_logs, words_between_workers
from tests.support.fuzzers.strategies import Fuzzer

FUZZERS: dict[str, Fuzzer] = {
    fuzzer.__name__: fuzzer
    for fuzzer in (
        server_sent_events,
        answers_of_the_openai_wire,
        answers_of_anthropic,
        answers_of_gemini,
        answers_without_a_stream,
        responses_of_providers,
        refusals_of_providers,
        bodies_of_requests,
        addresses_of_clients,
        headers_of_requests,
        credentials_of_callers,
        keys_of_issuers,
        requests_at_the_door,
        values_of_configurations,
        configurations,
        events_that_were_kept,
        answers_that_were_kept,
        heads_of_logs,
        words_between_workers,
    )
}

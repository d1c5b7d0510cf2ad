"""The reasons that keys of a LiteLLM config are not carried over, or what to write instead, as tables: key → sentence.

A key that is in no table has no equal here either. `AS_HERE` are keys whose behaviour is fixed here.
"""

AS_HERE = frozenset({
    "drop_params",  # a parameter that a model does not take is left out
    "json_logs", "turn_off_message_logging", "redact_messages_in_exceptions", "redact_user_api_key_info", "telemetry",
    "suppress_debug_info", "stream", "hidden", "disable_spend_logs", "disable_master_key_return", "disable_adding_master_key_hash_to_db",
})  # fmt: skip

SWITCHED_OFF = {
    "ssl_verify": "certificates are always verified: with `ssl_verify: false` LiteLLM verifies none",
    "drop_params": "a parameter that a model does not take is left out, but for `logit_bias` and `parallel_tool_calls: false`",
}
"""Setting → the comment if LiteLLM's config has it as false: it cannot be switched off here."""
SWITCHES = frozenset({"cache", "disable_cooldowns", "stream", "enable_json_schema_validation"})
"""Settings that need no comment if they are false: that is the default here, too."""

NO_TAGS = "there is no routing by tags: write a route for each of them, or one route whose entries have `when: {header: …}`"
NO_TEAMS = "there are no teams: a route for each of them"
NO_DATABASE = "there is no database: keys and models stand in files"
NO_ALERTS = "nobody is alerted from here: alert on the metrics, or on the log"
NO_ADMIN = "there is no page to administrate from: what is to be changed stands in the files"
USERS = "the key of a front end says how it names its users: write `user: {header: …}` in it, under `server.auth.keys`"
ENTRA = "LiteLLM signs in with what it finds in the environment"
OF_AWS = "set it in the environment, for the whole process"
OF_GOOGLE = "LiteLLM takes it from the environment, and needs Google's libraries"

NO_NUMBER = "its value stands in the environment, and only texts are read from there"
HELD = "what another setting says holds over it"
BY_KIND = "the kind of error decides: 408, 429, 5xx and lost connections are tried again, silence and refusals are not"
SHARED = "what is shared between processes goes by `server.redis`"
UNASKED = "no target is asked unless a user asks; the breaker tries those that failed"

PARAMS = {
    "organization": "use a key of that organization, or write `headers: {openai-organization: …}`",
    "extra_headers": "headers are a mapping of names",
    "headers": "`extra_headers` stands beside it",
    "extra_body": "a body is a mapping of names",
    "thinking": "write `reasoning_effort` in `params`",
    "response_format": "write its schema into pipelines/NAME.json, and `- output: NAME.json` into the pipeline",
    "n": "an answer is one",
    "tags": NO_TAGS,
    **dict.fromkeys(("tpm", "rpm", "max_parallel_requests"), "there is no limit for one target; `limit` on the route is the nearest"),
    "weight": "it shares nothing: no other deployment has the same name and order",
    **dict.fromkeys(("timeout", "stream_timeout", "num_retries", "max_retries", "order"), HELD),
    "max_completion_tokens": "`max_tokens` stands beside it",
    "base_url": "`api_base` stands beside it",
    "mock_response": "write a target with a `script`",
    "api_type": "the model's prefix says it",
    **dict.fromkeys(("azure_ad_token", "azure_ad_token_provider"), ENTRA),
    **{name: f"{ENTRA}: AZURE_{name.upper()}" for name in ("tenant_id", "client_id", "client_secret")},
    "aws_region_name": OF_AWS + ": AWS_REGION",
    **{name: f"{OF_AWS}: {name.upper()}" for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")},
    "aws_profile_name": OF_AWS + ": AWS_PROFILE",
    "aws_role_name": OF_AWS,
    "vertex_project": OF_GOOGLE + ": VERTEXAI_PROJECT",
    "vertex_location": OF_GOOGLE + ": VERTEXAI_LOCATION",
    "vertex_credentials": OF_GOOGLE + ": GOOGLE_APPLICATION_CREDENTIALS",
    "api_version": "only azure/ has one",
    "merge_reasoning_content_in_choices": "thoughts are told apart from the answer; `reasoning: show` on the route shows them",
    "cache_control_injection_points": "what a provider is to keep is not marked",
    "configurable_clientside_auth_params": "a client's address or key is never used",
    "use_in_pass_through": "there are no pass-through addresses",
    "region_name": NO_TAGS,
}
INFO = {
    **dict.fromkeys(("access_groups", "team_id", "team_public_model_name"), NO_TEAMS),
    "tier": NO_TAGS,
    **dict.fromkeys(("max_tokens", "max_output_tokens"), "write `max_tokens` in `params` where it is meant as a limit"),
}
TOLD_ONLY = frozenset({
    "description", "metadata", "version", "created_at", "created_by", "updated_at", "updated_by", "db_model", "litellm_provider",
    "id", "mode",
})  # fmt: skip
"""Keys of model_info that only describe, and change nothing."""

ROUTER = {
    **dict.fromkeys(("num_retries", "timeout", "stream_timeout", "allowed_fails", "cooldown_time", "disable_cooldowns"), HELD),
    "enable_pre_call_checks": "nobody counts tokens before the call: a conversation too long for a target goes to one that reads more once it says so",
    "optional_pre_call_checks": "nothing is looked at before the call but who is left alone, and who is busy",
    **dict.fromkeys(("enable_tag_filtering", "tag_filtering_match_any"), NO_TAGS),
    **dict.fromkeys(("retry_policy", "model_group_retry_policy"), BY_KIND),
    "allowed_fails_policy": "any failure counts for the breaker, but for a question that was at fault; a wrong key opens it at once",
    "routing_strategy_args": "how the busy and the slow are known is fixed",
    "provider_budget_config": "no provider has a budget; `limit: {spend: …}` on the route is the nearest",
    **dict.fromkeys(("redis_host", "redis_port", "redis_password", "redis_url", "redis_db"), SHARED),
    "cache_responses": "write `cache` on the routes whose answers may be given again",
    "caching_groups": "each route has answers of its own",
    "default_max_parallel_requests": "there is no limit for one target; `limit` on the route is the nearest",
    "default_litellm_params": "write `params` on the targets",
    "alerting_config": NO_ALERTS,
    **dict.fromkeys(("set_verbose", "debug_level"), "the log has one line for each request, whatever is set"),
    "client_ttl": "connections are kept by the process",
    "model_group_affinity_config": "nobody is bound to a target",
}
LIBRARY = {
    **dict.fromkeys(("num_retries", "request_timeout", "allowed_fails", "cooldown_time"), HELD),
    **dict.fromkeys(("fallbacks", "context_window_fallbacks", "default_fallbacks"), HELD),
    "set_verbose": "the log has one line for each request, whatever is set",
    "modify_params": "a conversation is put as each provider wants it; more is not changed",
    "content_policy_fallbacks": "where a content filter refuses, nobody else is asked, and the client is told",
    "service_callbacks": NO_ALERTS,
    "callback_settings": "no callbacks: see `GET /metrics` and the log",
    "force_ipv4": "the addresses of a name are tried side by side",
    "ssl_verify": "certificates are always verified",
    **dict.fromkeys(("default_team_settings", "default_internal_user_params"), NO_TEAMS),
    **dict.fromkeys(("max_budget", "budget_duration"), "write `limit: {spend: …}` on the routes, or on a caller's key"),
    **dict.fromkeys(("key_generation_settings", "upperbound_key_generate_params", "public_model_groups"), NO_ADMIN),
    "mcp_aliases": "a route names its MCP servers among its tools: tools: [{mcp: …}]",
    "guardrails": "write a step of your own",
    "disable_end_user_cost_tracking": NO_DATABASE,
    "max_end_user_budget": "write `limit: {spend: …, per: user}` on the routes, and in the key of each front end how it names its users",
}
GENERAL = {
    **dict.fromkeys(("database_url", "database_connection_pool_limit", "database_connection_timeout", "store_model_in_db"), NO_DATABASE),
    **dict.fromkeys(("allow_requests_on_db_unavailable", "proxy_batch_write_at", "use_redis_transaction_buffer", "salt_key"), NO_DATABASE),
    "store_prompts_in_spend_logs": "nobody's words are kept",
    **dict.fromkeys(("alerting", "alerting_threshold", "alerting_args", "alert_types"), NO_ALERTS),
    **dict.fromkeys(("alert_to_webhook_url", "slack_webhook_url"), NO_ALERTS),
    "ui_access_mode": NO_ADMIN,
    "custom_auth": "who may call is not decided by code of your own; put that in front",
    **dict.fromkeys(("background_health_checks", "health_check_interval"), UNASKED),
    "max_request_size_mb": "write `server.request.body`",
    "max_response_size_mb": "an answer is bounded by its time, and by `max_tokens`",
    "infer_model_from_keys": "each model is named",
    "forward_client_headers_to_llm_api": "a client's headers go no further",
    "pass_through_endpoints": "there are no pass-through addresses",
    **dict.fromkeys(("key_management_system", "key_management_settings"), "a key is `${NAME}` or `${file:/path}`"),
    "allowed_routes": "an address is not taken away by a key: nginx can do that",
    "allowed_ips": "nginx can do that",
    **dict.fromkeys(("user_header_name", "user_header_mappings"), USERS),
}
SECTIONS = {
    "callback_settings": "no callbacks: see `GET /metrics` and the log",
    "guardrails": "write a step of your own",
    **dict.fromkeys(("mcp_servers", "mcp_tools"), "a route names its MCP servers among its tools: tools: [{mcp: …}]"),
    "prompts": "prompts are the templates of a pipeline",
    "vector_store_registry": "a tool can search",
    "files_settings": "files go with the messages",
    **dict.fromkeys(("finetune_settings", "assistant_settings"), "only chats are answered here"),
    "default_vertex_config": OF_GOOGLE,
    "search_tools": "tools are typed functions in tools/",
}
CALLBACKS = {
    "prometheus": "see `GET /metrics`",
    **dict.fromkeys(("otel", "opentelemetry"), "install the extra `pointsman[otel]` for traces"),
}
OTHERWISE = "no equal here"
OVERRULED = (HELD, OTHERWISE)
"""Reasons that NO_NUMBER replaces if the value stands in the environment."""

"""Conversion of a LiteLLM deployment to a target."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from router.config import declare
from router.config.declaration import TargetConfig
from router.config.foreign import Located
from router.config.options import header_name, header_value
from router.config.secrecy import secret_in_name
from router.config.snapshot import Snapshot
from router.config.values import Name, Secret
from router.errors import Misfit
from router.migration import verdicts
from router.migration.account import Account
from router.migration.models import Deployment
from router.migration.page import Section, YamlValue
from router.migration.source import SourceConfig, in_environment
from router.migration.variables import Variables, written
from router.params import Params
from router.signature import arguments, record_of
from router.targets import Connections, Learned, open_target, table
from router.targets.options import Api, options_of
from router.targets.providers import PROVIDERS, variable
from router.value import Value

NUMBERS = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty", "min_p", "repetition_penalty"), float),
    **dict.fromkeys(("max_tokens", "seed", "top_k"), int),
}
PARAMS = record_of(Params)
OF_ONE_QUESTION = frozenset({"prediction", "logit_bias"})
"""Parameters of one question, which cannot be defaults of a target."""
SAMPLING = {item.name: item.name for item in PARAMS.fields if item.name not in OF_ONE_QUESTION} | {"max_completion_tokens": "max_tokens"}
"""Key of litellm_params → key in `params`."""
NEEDED = {"input_cost_per_token": "input", "output_cost_per_token": "output"}
COSTS = {
    **NEEDED,
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
}
"""Dollars for one token → dollars for a million in `price`, which needs the first two."""
PUBLIC = frozenset({"anthropic-beta", "openai-beta", "http-referer", "x-title", "user-agent"})
"""Headers whose values are never secrets."""
ENTRA = frozenset({"azure_ad_token", "azure_ad_token_provider", "tenant_id", "client_id", "client_secret"})


class Workshop(Value, frozen=True):
    """The converter of deployments to targets; `leave` comments later on values that were not carried over."""

    source: SourceConfig
    variables: Variables
    connections: Connections

    def target(self, name: str, one: Deployment) -> Section:
        """Return the target section for a deployment. If it could not be served, the section is `dropped`, with a comment why.
        Comments on the deployment's other values that are not carried over are added by `leave`.
        """
        made = Section()
        self.source.account.carry(said := one.params["model"])
        provider, _, model = one.model.partition("/")
        full_name = f"{provider}/{model.removeprefix('responses/')}" if model and not in_environment(said) else one.model
        made.keys["model"] = (self.variables.reference(said) if in_environment(said) else None) or written(full_name)
        self._address(one, made)
        self._key(name, one, made)
        self._version(one, made)
        self._params(one, made)
        self._body(one, made)
        self._headers(name, one, made)
        self._window(one, made)
        self._price(one, made)
        if why := self._unfit(name, one, made):
            made.dropped = True
            made.lose(f"{name}: {why}")
        return made

    def leave(self, one: Deployment, made: Section) -> None:
        """Add to a target a comment for each value of its deployment without an outcome. For use once its routes exist."""
        losses(made, one.params, verdicts.PARAMS, self.source.account)
        account = self.source.account
        account.agree(*(said for key, said in one.info.items() if key in verdicts.TOLD_ONLY or key.startswith("supports_")))
        losses(made, one.info, verdicts.INFO, account, "model_info.")
        if made.dropped:
            account.mention(*one.params.values(), *one.info.values())

    def _address(self, one: Deployment, made: Section) -> None:
        key = "api_base" if one.params.get("api_base") else "base_url"
        said = one.params.get(key)
        if said is None or not said.value:
            if one.provider == "azure":
                made.keys["api_base"] = self.variables.variable("AZURE_API_BASE")
            return
        if in_environment(said):
            self._write("api_base", self.variables.reference(said), said, made, key)
            return
        try:
            bare = _bare(urlsplit(str(said.value)))
        except ValueError:
            self._lose(f"{key}: it is no address", said, made)
            return
        if bare != str(said.value):
            made.lose(f"a part of {key}: a user, a password or a query may be a secret, which belongs into `api_key`")
        self._write("api_base", written(bare), said, made)

    def _key(self, name: str, one: Deployment, made: Section) -> None:
        said = one.params.get("api_key")
        usual = variable(one.provider)
        if said is not None and said.value is not None:
            reference, remark = self.variables.key(said, usual, f"{name}_API_KEY")
            if remark:
                made.note(remark)
            if reference is not None or in_environment(said):
                self._write("api_key", reference, said, made)
            else:
                self.source.account.agree(said)  # it stood where no key is needed
        elif not ENTRA.isdisjoint(one.params):
            made.keys["via"] = "litellm"
        elif one.provider in ("anthropic", "gemini") or ((known := PROVIDERS.get(one.provider)) and not known.keyless):
            made.keys["api_key"] = self.variables.variable(usual)

    def _version(self, one: Deployment, made: Section) -> None:
        said = one.params.get("api_version")
        if said is None or said.value is None:
            return
        if one.provider != "azure":
            self._lose(f"api_version: {verdicts.PARAMS['api_version']}", said, made)
        else:
            value = self.variables.reference(said) if in_environment(said) else written(str(said.value))
            self._write("api_version", value, said, made)

    def _write(self, key: str, value: str | None, said: Located, made: Section, original: str = "") -> None:
        """Write a value as `key`, or note that no variable can have the name in `original`, by default `key`, if it is None."""
        if value is None:
            self._lose(f"{original or key}: no variable can have this name", said, made)
        else:
            made.keys[key] = value
            self.source.account.carry(said)

    def _lose(self, text: str, said: Located | None, made: Section) -> None:
        made.lose(text)
        self.source.account.mention(said)

    def _params(self, one: Deployment, made: Section) -> None:
        params: dict[str, YamlValue] = {}
        for key, name in SAMPLING.items():
            said = one.params.get(key)
            if said is None or said.value is None or name in params:
                continue
            try:
                params[name] = self._param(name, said)
                self.source.account.carry(said)
            except Misfit as misfit:
                self._lose(f"{key}: {misfit.message}", said, made)
        if params:
            made.keys["params"] = params

    def _param(self, name: str, said: Located) -> YamlValue:
        """Return one sampling parameter as routes.yaml takes it. Raises Misfit if the value does not fit."""
        if in_environment(said):
            raise Misfit(verdicts.NO_NUMBER)
        if name == "stop":
            stops = tuple(str(one.value) for one in said.items) or (str(said.value),)
            return [written(one) for one in Params(stop=stops).stop or ()]
        if name == "reasoning_effort":
            if said.value not in ("none", "minimal", "low", "medium", "high"):
                raise Misfit("it is none, minimal, low, medium or high")
            return str(said.value)
        if name in ("verbosity", "service_tier", "parallel_tool_calls"):
            arguments(PARAMS, {name: said.value})
            return said.value if isinstance(said.value, str) else said.value is True
        if (number := self.source.number(said, name, -1e9)) is None:
            raise Misfit("it is no number")
        value = NUMBERS[name](number)
        Params(**{name: value})  # pyright: ignore[reportArgumentType] - it raises if out of range
        return value

    def _body(self, one: Deployment, made: Section) -> None:
        """Write `extra_body` as `body`. A field that the router writes itself is left out, with a comment."""
        said = one.params.get("extra_body")
        if said is None or not said.table:
            return
        api: Api = "messages" if one.provider == "anthropic" else "chat"
        body: dict[str, YamlValue] = {}
        for key, value in said.table.items():
            try:
                options_of(TargetConfig(model=Name("openai/any"), body={Name(key): _plain(value)}), api)
                body[key] = self._field(key, value)
            except Misfit as misfit:
                made.lose(f"extra_body.{key}: {misfit.message}")
        if body:
            made.keys["body"] = body
        self.source.account.carry(said)

    def _field(self, name: str, said: Located) -> YamlValue:
        """Return one field of `extra_body`, with references to variables for its secrets. Misfit if a variable cannot have the name."""
        if isinstance(said.value, tuple):
            return [self._field(name, one) for one in said.items]
        if isinstance(said.value, Mapping):
            return {key: self._field(key, one) for key, one in said.table.items()}
        if in_environment(said) or (isinstance(said.value, str) and secret_in_name(name) is not None):
            if (reference := self.variables.key(said, name)[0]) is None:
                raise Misfit("no variable can have this name")
            return reference
        return written(said.value) if isinstance(said.value, str) else said.value

    def _headers(self, name: str, one: Deployment, made: Section) -> None:
        """Write `extra_headers`, or else `headers`, as the `headers` of the target. A header that cannot be set is noted as lost.
        Literal values become references to variables, except in PUBLIC headers.
        """
        said = next((found for key in ("extra_headers", "headers") if (found := one.params.get(key)) is not None and found.table), None)
        if said is None:
            return
        headers: dict[str, YamlValue] = {}
        for key, value in said.table.items():
            try:
                TargetConfig(model=Name("openai/any"), headers={header_name(key): Secret("x", "${X}")})
                headers[key] = self._header(name, key, value, made)
            except Misfit as misfit:
                made.lose(f"extra_headers.{key if key.isprintable() else '…'}: {misfit.message}")
        if headers:
            made.keys["headers"] = headers
        self.source.account.carry(said)

    def _header(self, name: str, key: str, said: Located, made: Section) -> str:
        text = "" if said.value is None else str(said.value)
        if not in_environment(said) and key.lower() in PUBLIC and header_value(text):
            return written(text)
        reference, remark = self.variables.key(said, f"{name}_{key}")
        if remark:
            made.note(remark.replace("the key was", f"the header {key} was"))
        if reference is None:
            raise Misfit("it has no value, or no variable can have this name")
        return reference

    def _window(self, one: Deployment, made: Section) -> None:
        """Write `context_window`: LiteLLM's value, or the table's for the base model if that of the model itself is unknown."""
        account = self.source.account
        base, said = one.info.get("base_model"), one.info.get("max_input_tokens")
        if (tokens := self.source.number(said, "max_input_tokens", 1)) is not None:
            made.keys["context_window"] = int(tokens)
            account.carry(said)
            account.agree(base)  # it would only give the context window, too
        elif base is None or not isinstance(base.value, str):
            return
        elif table.about(one.model).window is not None:
            account.agree(base)  # the model's own context window is known
        elif (window := table.about(base.value).window) is not None:
            made.keys["context_window"] = window
            made.notes["context_window"] = "its base_model's"
            account.carry(base)
        else:
            self._lose("model_info.base_model: nobody knows how much it reads; write `context_window`", base, made)

    def _price(self, one: Deployment, made: Section) -> None:
        """Write `price` if the deployment states the costs of input and output tokens; if only other costs are stated, add a comment."""
        number = self.source.number
        costs_stated = {name: one.params.get(key) or one.info.get(key) for key, name in COSTS.items()}
        costs = {name: number(costs_stated[name], key) for key, name in COSTS.items()}
        known = {name: round(cost * 1_000_000, 6) for name, cost in costs.items() if cost is not None}
        stated = [costs_stated[name] for name in known]
        if known.keys() >= set(NEEDED.values()):
            made.keys["price"] = known
            self.source.account.carry(*stated)
        elif known:
            made.lose("a price of one kind of token: `price` has input and output at least, for a million")
            self.source.account.mention(*stated)

    def _unfit(self, name: str, one: Deployment, made: Section) -> str:
        """Return why the new target could not be served, in one sentence; empty if it could."""
        tried = Section({**made.keys, "optional": True})
        text = "\n".join(["targets:", *tried.lines(name, "  "), "routes: {}", ""])
        declaration = declare(Snapshot(self.source.root, "routes.yaml", {"routes.yaml": text}), {})
        if complaints := declaration.complaints.in_order():
            return complaints[0].message
        try:
            if not in_environment(one.params["model"]):
                open_target(name, next(iter(declaration.routes.targets.values())), 3.0, self.connections, Learned())
        except Misfit as misfit:
            return misfit.message
        return ""


def _plain(said: Located) -> object:
    if isinstance(said.value, tuple):
        return [_plain(one) for one in said.items]
    return {key: _plain(one) for key, one in said.table.items()} if isinstance(said.value, Mapping) else said.value


def _bare(parts: SplitResult) -> str:
    """Return an address without the parts that may be secret: user, password, query and fragment."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    plain = parts.username is None and parts.password is None
    return parts._replace(netloc=parts.netloc if plain else host + port, query="", fragment="").geturl()


def losses(made: Section, said: Mapping[str, Located], known: Mapping[str, str], account: Account, prefix: str = "") -> None:
    """Add a comment for each value without an outcome, and record it; values with the same reason share a comment.
    Empty values, and those that say what the router does anyway, get no comment.

    known: key → the reason. prefix: the path of the values' section, before each key in the comments
    """
    reasons: dict[str, list[str]] = {}
    for key, one in said.items():
        if account.settled(one) or one.value in (None, "", (), {}):
            continue
        on = one.value is False and key in verdicts.SWITCHED_OFF  # it is false in the original, and always on here
        if not on and (key in verdicts.AS_HERE or (one.value is False and (key in known or key in verdicts.SWITCHES))):
            account.agree(one)
            continue
        account.mention(one)
        why = verdicts.SWITCHED_OFF[key] if on else known.get(key, verdicts.OTHERWISE)
        if in_environment(one) and why in verdicts.OVERRULED:
            why = verdicts.NO_NUMBER
        reasons.setdefault(why, []).append(prefix + key)
    for why, keys in reasons.items():
        made.lose(f"{', '.join(keys)}: {why}")

"""The models of a LiteLLM config: its deployments, grouped by the name that clients ask for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from router.config.foreign import Located
from router.config.values import NAME
from router.errors import Place
from router.migration import verdicts
from router.migration.account import apart
from router.migration.source import SourceConfig, in_environment
from router.targets import table
from router.value import Mutable, Value, field, replace

PREFIXES = {
    "vertex_ai-language-models": "vertex_ai",
    "vertex_ai-text-models": "vertex_ai",
    "bedrock_converse": "bedrock",
    "text-completion-openai": "text-completion-openai",
}
"""Provider as the table names it → prefix of its models, if that differs."""
FAMILIES = (
    (re.compile(r"(gpt-|chatgpt-|o[1-9](-|$)|ft:gpt-).*"), "openai"),
    (re.compile(r"claude-.*"), "anthropic"),
    (re.compile(r"gemini-.*"), "vertex_ai"),
)
"""Names of models that are not in LiteLLM's table → their provider."""
EMBEDDINGS = "only chats are carried over, and this is for embeddings: write its target, and a route of `kind: embeddings`"


class Deployment(Value, frozen=True):
    """An entry of a LiteLLM config's `model_list`, with its `litellm_params` (and those of its credential) and `model_info`.
    group: the name that clients ask for. model: the model, with its provider as a prefix if that is known
    """

    group: str
    place: Place
    params: Mapping[str, Located]
    info: Mapping[str, Located]
    model: str

    @property
    def provider(self) -> str:
        """Return the provider as LiteLLM names it; the whole name of the model if it has no prefix."""
        return self.model.partition("/")[0]

    @property
    def id(self) -> str:
        """Return the id in `model_info`; empty without one."""
        said = self.info.get("id")
        return str(said.value) if said is not None and isinstance(said.value, str | int) and not isinstance(said.value, bool) else ""

    @property
    def mode(self) -> str:
        """Return the purpose of the model: chat, embedding, …; empty if unknown."""
        said = self.info.get("mode")
        return str(said.value) if said is not None and said.value else str(table.about(self.model).mode or "")


class Group(Value, frozen=True):
    """The deployments with the same `model_name`, which LiteLLM uses in place of each other."""

    name: str
    deployments: tuple[Deployment, ...]


class Models(Mutable):
    """All models of a LiteLLM config. `groups`: by name; `wildcards`: groups whose name is a pattern with `*`."""

    groups: dict[str, Group]
    wildcards: dict[str, Group]
    others: list[tuple[Deployment, str]] = field(default_factory=list[tuple[Deployment, str]])  # what no client can ask, with the reason

    def group(self, name: str) -> Group | None:
        """Return the group of this name; None if no deployment serves it. A group made from a matching wildcard is added to `groups`."""
        if name not in self.groups and (made := self._matched(name)) is not None:
            self.groups[name] = made
        return self.groups.get(name)

    def deployment(self, name: str) -> Deployment | None:
        """Return the deployment whose `model_info` has this id; None if no group has it. Wildcards are not searched."""
        return next((one for group in self.groups.values() for one in group.deployments if one.id == name), None)

    def _matched(self, name: str) -> Group | None:
        """Return a new group from the longest matching wildcard; None if none matches.
        A name without a provider that matches none is tried once more as `provider/name`, if its provider is known.
        """
        for asked in (name, prefixed(name)):
            for pattern in sorted(self.wildcards, key=len, reverse=True):
                if hit := re.match(re.escape(pattern).replace(r"\*", "(.*)"), asked):
                    made = (
                        replace(one, group=name, model=prefixed(_filled(one.model, hit))) for one in self.wildcards[pattern].deployments
                    )
                    return Group(name, tuple(made))
        return None


def _filled(model: str, hit: re.Match[str]) -> str:
    if "*" in model and len(hit.groups()) > model.count("*"):
        return hit.string
    for segment in hit.groups():
        model = model.replace("*", segment, 1)
    return model


def prefixed(model: str, provider: str = "") -> str:
    """Return the model as `provider/model`, as routes.yaml needs it; unchanged if its provider is unknown.
    provider: the provider, if the config states it; else the table of models and the patterns of names decide
    """
    if provider:
        return model if model.startswith(f"{provider}/") else f"{provider}/{model}"
    if "/" in model or model == "*":
        return model
    provider_name = table.about(model).provider
    provider_name = PREFIXES.get(provider_name, provider_name) or next((name for pattern, name in FAMILIES if pattern.fullmatch(model)), "")
    return f"{provider_name}/{model}" if provider_name else model


def models(source: SourceConfig) -> Models:
    """Return the models of the config. A malformed entry adds a complaint.
    The entry is left out, unless only its `model_info` is malformed or its credential unknown.
    """
    made = Models({}, {})
    said = source.sections.get("model_list")
    if said is None or not isinstance(said.value, tuple):
        if said is not None:
            source.complaints.add(said.place, "`model_list` takes a list of models")
        return made
    known = _credentials(source)
    for place, entry in enumerate(said.items):
        if (deployment := _deployment(apart(entry), source, known, f"model_list[{place}]")) is None:
            continue
        team, groups = deployment.info.get("team_id"), made.wildcards if "*" in deployment.group else made.groups
        if deployment.mode == "embedding":
            made.others.append((deployment, EMBEDDINGS))
        elif deployment.mode not in ("", "chat", "completion", "responses"):
            made.others.append((deployment, f"only chats are answered here, and this is for {deployment.mode}"))
        elif team is not None and team.value:
            made.others.append((deployment, f"it is there for one team alone, and {verdicts.NO_TEAMS}"))
        else:
            before = groups.get(deployment.group, Group(deployment.group, ()))
            groups[deployment.group] = Group(deployment.group, (*before.deployments, deployment))
    return made


def _deployment(entry: Located, source: SourceConfig, known: Mapping[str, Mapping[str, Located]], path: str) -> Deployment | None:
    name, params, info = (entry.table.get(key) for key in ("model_name", "litellm_params", "model_info"))
    add = source.complaints.add
    if name is None or not isinstance(name.value, str) or not name.value:
        add((name or entry).place, "an entry of `model_list` needs a `model_name`")
        return None
    if params is None or not isinstance(params.value, Mapping):
        add((params or entry).place, f"`{name.value}` lacks its `litellm_params`, a mapping")
        return None
    if info is not None and info.value is not None and not isinstance(info.value, Mapping):
        add(info.place, "`model_info` takes a mapping")
    model = params.table.get("model")
    if model is None or not isinstance(model.value, str) or not model.value:
        add((model or params).place, f"the litellm_params of `{name.value}` lack their `model`, e.g. openai/gpt-5.6")
        return None
    own = apart(params).table
    about: Mapping[str, Located] = apart(info).table if info else {}
    for key, one in entry.table.items():
        source.account.enter(f"{path}.{key}", one, {"litellm_params": own, "model_info": about}.get(key))
    given = own
    if (credential := own.get("litellm_credential_name")) is not None:
        source.account.carry(credential)
        if (values := known.get(str(credential.value))) is None:
            add(credential.place, f"no credential is named `{credential.value}`")
        given = {**(values or {}), **own}
    provider = given.get("custom_llm_provider")
    full_name = prefixed(model.value, str(provider.value) if provider is not None and isinstance(provider.value, str) else "")
    source.account.carry(name, provider if full_name.startswith(f"{provider.value if provider else ''}/") else None)
    return Deployment(name.value, name.place, given, about, full_name)


def _credentials(source: SourceConfig) -> Mapping[str, Mapping[str, Located]]:
    said = source.sections.get("credential_list")
    found: dict[str, Mapping[str, Located]] = {}
    for place, entry in enumerate(said.items if said else ()):
        parts = apart(entry).table
        name, values = parts.get("credential_name"), parts.get("credential_values")
        inner: Mapping[str, Located] = {}
        if name is not None and values is not None:
            found[str(name.value)] = inner = apart(values).table
        for key, one in {**parts, **{f"credential_values.{key}": one for key, one in inner.items()}}.items():
            if key != "credential_values":
                source.account.enter(f"credential_list[{place}].{key}", one)
        source.account.carry(name)
    return found


def slug(name: str, otherwise: str = "model") -> str:
    """Return a name as routes.yaml takes it: with other characters replaced by `-`, and cut. `otherwise`: if nothing is left."""
    if re.fullmatch(NAME, name):
        return name
    return re.sub(r"[^A-Za-z0-9._:/@-]+", "-", name).strip("-._:/@")[:100] or otherwise


def names(group: Group) -> Mapping[int, str]:
    """Return index in the group → name for its target: the group's name with a distinguishing part; or the ids, if all differ."""
    full_name = slug(group.name)
    if len(group.deployments) == 1:
        return {0: full_name}
    ids = [slug(one.id, "") for one in group.deployments]
    if all(ids) and len(set(ids)) == len(ids):
        return dict(enumerate(ids))
    providers = sorted({one.provider for one in group.deployments})
    made: dict[int, str] = {}
    for provider in providers:
        places = [place for place, one in enumerate(group.deployments) if one.provider == provider]
        head = f"{full_name}-{slug(provider)}" if len(providers) > 1 else full_name
        labels = _labels([group.deployments[place] for place in places], full_name)
        made |= {place: f"{head}-{label}".rstrip("-") for place, label in zip(places, labels, strict=True)}
    return made


def _labels(deployments: Sequence[Deployment], group: str) -> Sequence[str]:
    """Return a different label for each deployment, from words of its model, address or key variable; else numbers from 1.
    One label may be empty: that of a single deployment, or of one without words of its own.
    """
    if len(deployments) == 1:
        return [""]
    for words in zip(*(list(_words(one)) for one in deployments), strict=True):
        common = set(words[0]).intersection(*words[1:])
        ignored = common | {*_split(group), *_split(deployments[0].provider), "api", "base", "key", "url", "endpoint"}
        labels = ["-".join(word for word in one if word not in ignored) for one in words]
        if len(set(labels)) == len(labels) and sum(not label for label in labels) <= 1 and max(map(len, labels)) <= 30:
            return labels
    return [str(number) for number in range(1, len(deployments) + 1)]


def _words(deployment: Deployment) -> Iterator[Sequence[str]]:
    yield _split(deployment.model.partition("/")[2])
    for name in ("api_base", "api_key"):
        said = deployment.params.get(name)
        text = str(said.value) if said is not None and said.value else ""
        if said is not None and in_environment(said):
            yield _split(text.removeprefix("os.environ/"))
        elif name == "api_base":
            host = ""
            with suppress(ValueError):
                host = urlsplit(text).hostname or ""
            yield _split(host if re.fullmatch(r"[\d.:]+", host) else host.partition(".")[0])
        else:
            yield []  # a written-out key has no name


def _split(text: str) -> Sequence[str]:
    return [slug(word, "") for word in re.split(r"[^A-Za-z0-9.]+", text.lower()) if word]

"""A generation: one loaded configuration, compiled, frozen, named by the hash of its text.

`build` makes it from a declaration. `router check` does the same, and closes it. All complaints of a load are reported at once.
"""

from importlib.util import find_spec

from router.config.declaration import Declaration
from router.errors import ConfigError
from router.garbage import uncollected
from router.generation.carryover import Carryover
from router.generation.construction import Construction, Ground
from router.generation.routes import RouteCompiler
from router.generation.serving import OTHER_KIND, Compiled, Generation

__all__ = ["EXTRAS", "OTHER_KIND", "Carryover", "Compiled", "Generation", "Ground", "build"]

EXTRAS = {"otel": "opentelemetry.sdk"}
"""Key of `server` → the module that it needs, which the extra of the same name installs."""


@uncollected()
def build(declaration: Declaration, before: Carryover | None = None, ground: Ground | None = None) -> Generation:
    """Return the generation of a declaration, not yet started. It holds Redis and the tool servers until `close` or `discard`.

    Raises ConfigError with every complaint, the declaration's own included. `before`: the state of the generation before it; None for the
    first. `ground`: the environment, replaced in tests; None for the real one.
    """
    parts = Construction(declaration, before or Carryover(), ground or Ground())
    server, declared, kept = declaration.routes.server, declaration.routes.routes, parts.kept
    for key, package in EXTRAS.items():
        if getattr(server, key) is not None and find_spec(package.partition(".")[0]) is None:
            parts.complain(None, f"`server.{key}` needs a package that is not here: pip install 'pointsman[{key}]'")
    compiler = RouteCompiler(parts)
    routes = {str(name): made for name, route in declared.items() if (made := compiler.compiled(name, route))}
    callers = parts.callers()
    opened = compiler.tools.opened
    if found := declaration.complaints.in_order():
        for one in opened:
            one.close()
        raise ConfigError(found)
    if kept.redis is not None:
        kept.redis.hold()
    for tool_server in kept.tool_servers:
        tool_server.hold()
    aliases = {str(alias): str(name) for name, route in declared.items() for alias in route.aliases}
    prices = compiler.targets.prices()
    return Generation(declaration.digest, declaration, server, routes, aliases, declaration.skipped, opened, kept, prices, callers=callers)

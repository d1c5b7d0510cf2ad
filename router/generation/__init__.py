"""A generation: one loaded configuration, compiled, frozen, named by the hash of its text.

`build` makes it from a declaration. `router check` does the same, and closes it. All complaints of a load are reported at once.
"""

from importlib.util import find_spec

from router.config.declaration import Declaration
from router.errors import ConfigError
from router.garbage import uncollected
from router.generation.construction import Carryover, Construction, Ground
from router.generation.routes import RouteCompiler
from router.generation.serving import OTHER_KIND, Compiled, Generation

__all__ = ["OTHER_KIND", "Carryover", "Compiled", "Generation", "Ground", "build"]


@uncollected()
def build(declaration: Declaration, before: Carryover | None = None, ground: Ground | None = None) -> Generation:
    """Return the generation of a declaration, not yet started. It holds Redis and the tool servers until `close` or `discard`.

    Raises ConfigError with every complaint, the declaration's own included. `before`: the state of the generation before it; None for the
    first. `ground`: the environment, replaced in tests; None for the real one.
    """
    parts = Construction(declaration, before or Carryover(), ground or Ground())
    server, declared, kept = declaration.routes.server, declaration.routes.routes, parts.kept
    if server.otel is not None and find_spec("opentelemetry") is None:
        parts.complain(None, "`server.otel` needs a package that is not here: pip install 'pointsman[otel]'")
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

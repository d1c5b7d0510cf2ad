"""Reading requests: a request's bytes become the question it asks, for every API that is served.

request = Request(scope, receive)              its headers and its path
asked = await intake.read(request, …)          its body: the question, and the wanted form of its answer
"""

from router.intake.anthropic_api import estimate
from router.intake.body import ClientLeft
from router.intake.embeddings_api import Encoding, Wanted
from router.intake.intake import Intake
from router.intake.question import Asked, permitted
from router.intake.request import Request
from router.intake.responses_api import KeptResponse

__all__ = ["Asked", "ClientLeft", "Encoding", "Intake", "KeptResponse", "Request", "Wanted", "estimate", "permitted"]

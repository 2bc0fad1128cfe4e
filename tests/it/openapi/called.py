"""What schemathesis is told of the services behind the gateway: how their streams are read, which data they have,
and which of its findings no document can prevent. Whatever is set aside here is judged by a rule of its own.
"""

import json
import re
import zlib

import jsonschema_rs
import schemathesis
from schemathesis.core.failures import Failure

NDJSON = "application/x-ndjson"


@schemathesis.serializer(NDJSON)
def one_record(ctx, value):
    """The schema of a client stream is that of one record, and a stream may have just one."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


class WrongRecord(Failure):
    """A record of a stream that its schema does not describe."""


@schemathesis.check
def every_record_conforms(ctx, response, case):
    """The schema of NDJSON is that of each line, which schemathesis leaves unread."""
    content_type = (response.headers.get("content-type") or [""])[0]
    if not content_type.startswith(NDJSON):
        return None
    document = case.operation.schema.raw_schema
    responses = document["paths"][case.operation.path][case.operation.method]["responses"]
    described = responses["200"]["content"].get(NDJSON)
    if described is None:
        # Whatever was uploaded as this type.
        return None
    validator = jsonschema_rs.validator_for(described["schema"] | {"components": document["components"]})
    for line in response.content.split(b"\n")[:-1]:
        for error in validator.iter_errors(json.loads(line)):
            raise WrongRecord(operation=case.operation.label, title="Wrong record", message=f"{error}: {line!r}")
    return None


def is_demo(case):
    return case.operation.schema.raw_schema["info"]["title"] == "Library"


def pick(value, choices):
    """The same choice for the same value: runs with one seed are one run."""
    return choices[zlib.crc32(repr(value).encode()) % len(choices)]


BOOK_FIELDS = ["authors", "genre,pages", "isbn", "rating", "labels", "position", "loan.reader", ""]
WRITER_FIELDS = ["displayName", "country,birthYear", "deathYear", "biography", ""]


@schemathesis.hook
def map_case(context, case):
    """Calls that find what they ask for, and none that ends the service which they are made to."""
    if case.meta is not None and is_demo(case):
        demo(case)
    # etcd 3.4 ends with a nil pointer for an action that it does not know, and after an alarm it writes no more.
    is_positive = case.meta is not None and case.meta.generation.mode.is_positive
    if is_positive and case.operation.path == "/v3/maintenance/alarm" and isinstance(case.body, dict):
        case.body["action"] = "GET"
    return case


def demo(case):
    """The demo's own names, which only its services know."""
    # This stream ends when the client leaves, as tests of streams do; here each call has to end.
    if case.query and case.query.get("follow") in (True, "true"):
        case.query["follow"] = "false"
    if not case.meta.generation.mode.is_positive:
        return
    # What is there has to stay there.
    if case.operation.method != "delete":
        for name in case.path_parameters or {}:
            case.path_parameters[name] = pick(case.path_parameters[name], ["1", case.path_parameters[name]])
    # A mask is of any fields by its type; which ones a message has a pattern cannot say.
    for mask, fields in [("updateMask", BOOK_FIELDS), ("readMask", WRITER_FIELDS)]:
        if case.query and mask in case.query:
            case.query[mask] = pick(case.query[mask], fields)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a finding is one: what no document can say is judged here."""
    kind = type(failure).__name__
    if kind == "RejectedPositiveData":
        return not is_refused_by_service(case, response)
    if kind == "ServerError":
        return not is_failed_by_etcd(case, response)
    if kind == "AllowHeaderMismatch":
        return not allows_what_is_documented(case, response)
    return True


UNKNOWN = 2
UNAVAILABLE = 14
FAILED_PRECONDITION = 9


def is_refused_by_service(case, response):
    """Types are not all that a service asks for. The library's document says the rest, except for what depends on
    its state; etcd's descriptors have no rules, so that the gateway has to let pass what etcd refuses.
    """
    status = response.json()
    if is_demo(case):
        # What a document may cost is the product of its pages: no parameter has a bound of its own.
        costs_too_much = any(detail.get("reason") == "COST_LIMIT" for detail in status["details"])
        return status["code"] == FAILED_PRECONDITION or costs_too_much
    return not any(detail.get("domain") == "transom" for detail in status["details"])


def is_failed_by_etcd(case, response):
    """etcd says UNKNOWN where it means INVALID_ARGUMENT, and UNAVAILABLE itself where its disk is slow; and two of its
    calls wait for their turn: they end at the deadline that the configuration has for them.
    """
    status = response.json()
    if is_demo(case):
        return False
    if case.operation.path in ("/v3/lock/lock", "/v3/election/campaign") and response.status_code == 504:
        return True
    return status["code"] in (UNKNOWN, UNAVAILABLE) and not status["details"]


def allows_what_is_documented(case, response):
    """A path may have several templates: `books/1:move` is a POST of one, and for another the name of a book, which
    can be asked for. `Allow` lists the methods of all of them; schemathesis compares it with one.
    """
    path = response.request.path_url.split("?")[0]
    documented = set()
    for template, item in case.operation.schema.raw_schema["paths"].items():
        pattern = "".join("[^/]+" if part[0] == "{" else re.escape(part) for part in re.split(r"(\{[^}]*\})", template) if part)
        if re.fullmatch(pattern, path):
            documented |= {method.upper() for method in item}
    documented |= {"HEAD"} if "GET" in documented else set()
    return set(response.headers["allow"][0].split(", ")) == documented

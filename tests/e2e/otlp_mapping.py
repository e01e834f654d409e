"""docs/evidence-format.md, "From OTLP", read by another implementation: OTLP/JSON as the Collector
writes it becomes the span that was signed."""

import datetime
import json

FIELDS = {"compliance.framework": "framework", "compliance.control": "control",
          "compliance.evidence_type": "evidenceType", "compliance.outcome": "outcome",
          "compliance.tenant_id": "tenantId"}
SIGNATURE = {"betrace.signature": "signature", "betrace.signature.key_id": "keyId",
             "betrace.signature.algorithm": "algorithm", "betrace.signature.status": "status",
             "betrace.signature.leaf_index": "leafIndex"}


def double_text(number):
    """ECMAScript's Number::toString, for what the tests send."""
    if isinstance(number, str):  # "NaN", "Infinity"
        return number
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    text = repr(float(number))
    return text.replace("e-0", "e-").replace("e+0", "e+")


def typed(value):
    (kind, content), = value.items() if value else (("none", None),)
    if kind == "arrayValue":
        return {"array": [typed(each) for each in content.get("values", [])]}
    if kind == "kvlistValue":
        return {"kvlist": attributes_of(content.get("values", []))}
    if kind == "doubleValue":
        return {"double": double_text(content)}
    if kind == "intValue":
        return {"int": str(content)}
    return {} if kind == "none" else {kind.removesuffix("Value"): content}


def attributes_of(attributes):
    return {each["key"]: typed(each.get("value", {})) for each in attributes}


def signed_attributes(item):
    """An item's own, without ours."""
    return attributes_of(each for each in item.get("attributes", [])
                         if not each["key"].startswith("betrace.signature"))


def filled(thing):
    return {name: value for name, value in thing.items() if value not in ("", 0, "0", {}, [], None)}


def described(item):
    """The field `otel`."""
    if "startTimeUnixNano" in item:
        return filled({
            "signal": "span", "name": item.get("name"), "kind": item.get("kind"),
            "parentSpanId": item.get("parentSpanId"),
            "startTimeUnixNano": item["startTimeUnixNano"],
            "endTimeUnixNano": item.get("endTimeUnixNano"),
            "attributes": signed_attributes(item),
            "events": [filled({"name": event.get("name"), "timeUnixNano": event.get("timeUnixNano"),
                               "attributes": attributes_of(event.get("attributes", []))})
                       for event in item.get("events", [])],
            "links": [filled({"traceId": link.get("traceId"), "spanId": link.get("spanId"),
                              "attributes": attributes_of(link.get("attributes", []))})
                      for link in item.get("links", [])],
            "status": filled({"code": item.get("status", {}).get("code"),
                              "message": item.get("status", {}).get("message")})})
    return filled({
        "signal": "log", "timeUnixNano": item.get("timeUnixNano"),
        "severityNumber": item.get("severityNumber"), "severityText": item.get("severityText"),
        "eventName": item.get("eventName"), "body": typed(item.get("body", {})),
        "attributes": signed_attributes(item)})


def text_attributes(item):
    return {each["key"]: each["value"].get("stringValue") for each in item.get("attributes", [])}


def is_compliance(item):
    return {"compliance.framework", "compliance.control"} <= text_attributes(item).keys()


def span_of(item):
    """The signed or logged span of an item, with its signature or place."""
    texts = text_attributes(item)
    nanoseconds = int(item.get("startTimeUnixNano") or item.get("timeUnixNano") or
                      item["observedTimeUnixNano"])
    second = datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.UTC)
    span = {field: texts[name] for name, field in (FIELDS | SIGNATURE).items() if name in texts}
    return span | filled({
        "timestamp": second.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanoseconds % 10**9:09d}Z",
        "traceId": item.get("traceId"), "spanId": item.get("spanId")}) | {
        "otel": json.loads(json.dumps(described(item)))}

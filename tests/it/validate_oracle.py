"""Asks protovalidate: reads a descriptor set, then lines of a message's name and its bytes in hex; prints for each line
the violations as a list of [path, rule] in JSON."""

import json
import sys

import protovalidate
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def path(field):
    text = ""
    for element in field.elements if field else []:
        text += ("." if text else "") + element.field_name
        if element.subscript is None:
            continue
        value = element.subscript.value
        text += f"[{json.dumps(value, ensure_ascii=False)}]"
    return text


files = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.Add(file)
validator = protovalidate.Validator()
for line in sys.stdin:
    name, _, wire = line.strip().partition(" ")
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name)).FromString(bytes.fromhex(wire))
    try:
        found = [[path(one.proto.field), one.proto.rule_id] for one in validator.collect_violations(message)]
    except protovalidate.EvaluationError:
        found = None
    print(json.dumps(found), flush=True)

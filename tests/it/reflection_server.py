"""A grpcio server that does nothing but describe the services of a descriptor set.

Prints its port and runs until its standard input is closed. Needs grpcio and grpcio-reflection.
"""

import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection


def main(path):
    files = descriptor_pb2.FileDescriptorSet()
    with open(path, "rb") as source:
        files.ParseFromString(source.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    services = [f"{file.package}.{service.name}" for file in files.file for service in file.service]

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    names = [*services, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=pool)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


main(sys.argv[1])

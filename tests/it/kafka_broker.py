"""A Kafka cluster in this process, librdkafka's own, and everything that is written to one topic of it.

Arguments: the number of brokers and the topic. Prints `host:port,host:port`, then each record of the topic as
a line of JSON, with the partition that librdkafka itself would have chosen for its key. Runs until its standard
input is closed. Needs confluent-kafka.
"""

import json
import os
import sys
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def main(count, topic):
    quiet = {"log_level": 0}
    cluster = Producer({**quiet, "bootstrap.servers": "none", "test.mock.num.brokers": count})
    brokers = cluster.list_topics(timeout=30).brokers.values()
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    # Asking for a topic makes it.
    partitions = cluster.list_topics(topic, timeout=30).topics[topic].partitions
    other = Producer({**quiet, "bootstrap.servers": servers, "partitioner": "murmur2", "linger.ms": 0})
    consumer = Consumer({**quiet, "bootstrap.servers": servers, "group.id": "test", "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(servers, flush=True)
    while True:
        record = consumer.poll(0.1)
        if record is None or record.error():
            continue
        chosen = []
        other.produce(f"{topic}-again", key=record.key(), on_delivery=lambda _, again: chosen.append(again.partition()))
        other.flush()
        told = {
            "key": record.key().decode(),
            "value": record.value().decode(),
            "headers": {name: value.decode() for name, value in record.headers()},
            "partition": record.partition(),
            "chosen": chosen[0],
            "timestamp": record.timestamp()[1],
        }
        print(json.dumps(told), flush=True)


main(int(sys.argv[1]), sys.argv[2])

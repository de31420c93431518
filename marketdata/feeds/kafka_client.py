"""What producing and consuming on Kafka share: the optional library, topics and their partitions, reasons."""

from typing import Any

from marketdata.feeds.bus_records import Topic, topics
from marketdata.feeds.protocol import FeedError


class BusError(FeedError):
    """The bus cannot be used, or did not take a record; the message names broker, topic and reason."""


def library() -> Any:
    """Return the ``confluent_kafka`` module.

    Raises
    ------
    BusError
        If the extra is not installed.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        raise BusError("Kafka needs an extra package: pip install 'flowsense[kafka]'") from error
    return confluent_kafka


def create_topics(
    bootstrap: str, wanted: tuple[Topic, ...] = (), *, replication: int = 1, timeout_s: float = 10.0
) -> list[str]:
    """Make the topics that are not there yet and return their names; those there are left as they are.

    Raises
    ------
    BusError
        If the brokers do not answer or refuse.
    """
    kafka = library()
    from confluent_kafka import admin as administration
    from confluent_kafka import cimpl

    admin = administration.AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    try:
        present = set(admin.list_topics(timeout=timeout_s).topics)
        missing = [topic for topic in wanted or topics() if topic.name not in present]
        asked = [
            cimpl.NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=t.config())
            for t in missing
        ]
        if asked:
            for future in admin.create_topics(asked, request_timeout=timeout_s).values():
                future.result(timeout_s)
    except (kafka.KafkaException, TimeoutError) as error:
        raise BusError(f"{bootstrap}: topics cannot be made: {why(error)}") from error
    return [topic.name for topic in missing]


def partitions_of(kafka: Any, client: Any, bootstrap: str, topic: str, timeout_s: float = 10.0) -> list[int]:
    """Return the numbers of a topic's partitions.

    Raises
    ------
    BusError
        If the brokers do not answer, or have no such topic.
    """
    try:
        found = client.list_topics(topic, timeout=timeout_s).topics[topic]
    except kafka.KafkaException as error:
        raise BusError(f"{bootstrap}: no answer about topic {topic}: {why(error)}") from error
    if found.error is not None or not found.partitions:
        raise BusError(f"{bootstrap}: topic {topic}: {found.error}; make the topics first (flowsense bus HOST:PORT)")
    return sorted(found.partitions)


def why(error: Exception) -> str:
    """Return the reason in an error of the library."""
    first = error.args[0] if error.args else error
    return str(first.str()) if hasattr(first, "str") else str(first) or type(error).__name__

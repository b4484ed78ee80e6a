// SPDX-License-Identifier: Apache-2.0
//
// The producing commands of Tool.java: a producer for one command, and transactional producers that
// live on from one command to the next, so that their transactions can be open side by side.

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

final class Producers {
    interface Partitions {
        int of(String topic) throws Exception;
    }

    private interface Sink {
        void send(ProducerRecord<byte[], byte[]> record);
    }

    private final String bootstrap;
    private final Partitions partitions;
    private final Map<String, KafkaProducer<byte[], byte[]>> open = new ConcurrentHashMap<>();
    private final Set<String> flowing = ConcurrentHashMap.newKeySet();

    Producers(String bootstrap, Partitions partitions) {
        this.bootstrap = bootstrap;
        this.partitions = partitions;
    }

    /** Everything of one command through a producer of its own. */
    Object produce(JsonNode in) throws Exception {
        AtomicReference<Exception> failure = new AtomicReference<>();
        long start = System.nanoTime();
        long count;
        try (KafkaProducer<byte[], byte[]> producer = producer(in)) {
            begin(producer, in);
            count = send(in, record -> producer.send(record,
                (meta, e) -> failure.compareAndSet(null, e)));
            producer.flush();
            end(producer, in);
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        return Map.of("count", count, "ms", (System.nanoTime() - start) / 1_000_000);
    }

    /** One record for each partition every "every_ms", until stopFlow() for this topic. */
    Object flow(JsonNode in) throws Exception {
        String topic = in.get("topic").asText();
        AtomicReference<Exception> failure = new AtomicReference<>();
        flowing.add(topic);
        long turn = 0;
        try (KafkaProducer<byte[], byte[]> producer = producer(in)) {
            int all = partitions.of(topic);
            for (; flowing.contains(topic); turn++) {
                for (int p = 0; p < all; p++) {
                    producer.send(new ProducerRecord<>(topic, p, null, value(p, turn, 100)),
                        (meta, e) -> failure.compareAndSet(null, e));
                }
                Thread.sleep(in.get("every_ms").asLong());
            }
        }
        if (failure.get() != null && !in.path("losses").asBoolean()) {
            throw failure.get();
        }
        return turn;
    }

    Object stopFlow(JsonNode in) {
        return flowing.remove(in.get("topic").asText());
    }

    /**
     * One step of the transactional producer named "producer": begin, send, commit, abort or close.
     * A send is flushed; its answer is the offsets.
     */
    Object transaction(JsonNode in) throws Exception {
        String name = in.get("producer").asText();
        if (in.get("step").asText().equals("close")) {
            open.remove(name).close();
            return null;
        }
        KafkaProducer<byte[], byte[]> producer = open.get(name);
        if (producer == null) {
            producer = producer(in);
            open.put(name, producer);
            producer.initTransactions();
        }
        switch (in.get("step").asText()) {
            case "begin": producer.beginTransaction(); return null;
            case "send": return sendForOffsets(producer, in);
            case "commit": producer.commitTransaction(); return null;
            case "abort": producer.abortTransaction(); return null;
            default: throw new IllegalArgumentException(in.get("step").asText());
        }
    }

    private List<Long> sendForOffsets(KafkaProducer<byte[], byte[]> producer, JsonNode in)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        send(in, record -> sent.add(producer.send(record)));
        producer.flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get().offset());
        }
        return offsets;
    }

    /** "transaction": "commit" or "abort" puts everything into one transaction. */
    private static void begin(KafkaProducer<byte[], byte[]> producer, JsonNode in) {
        if (in.has("transaction")) {
            producer.initTransactions();
            producer.beginTransaction();
        }
    }

    private static void end(KafkaProducer<byte[], byte[]> producer, JsonNode in) {
        if (in.path("transaction").asText().equals("commit")) {
            producer.commitTransaction();
        } else if (in.has("transaction")) {
            producer.abortTransaction();
        }
    }

    private KafkaProducer<byte[], byte[]> producer(JsonNode in) {
        Properties p = new Properties();
        p.put("bootstrap.servers", in.path("bootstrap").asText(bootstrap));
        p.put("acks", "all");
        p.put("batch.size", in.path("batch_size").asText("16384"));
        p.put("linger.ms", in.path("linger_ms").asText("5"));
        p.put("compression.type", in.path("compression").asText("none"));
        p.put("max.request.size", "16777216");
        p.put("buffer.memory", "67108864");
        p.put("reconnect.backoff.max.ms", "200");
        if (in.has("transaction") || in.has("producer")) {
            p.put("transactional.id", "tool-" + in.path("producer").asText(in.get("id").asText()));
        } else {
            // An idempotent producer that meets a partition whose leader is just coming up can get
            // out of step with it and then crawls at one request a second (4.3.1).
            p.put("enable.idempotence", "false");
            p.put("max.in.flight.requests.per.connection", "1");
        }
        ByteArraySerializer bytes = new ByteArraySerializer();
        return new KafkaProducer<>(p, bytes, bytes);
    }

    private long send(JsonNode in, Sink sink) throws Exception {
        String topic = in.get("topic").asText();
        return in.has("records") ? sendListed(topic, in.get("records"), sink)
                                 : sendCounted(topic, in, sink);
    }

    /** Sends records written out one by one: {partition, timestamp, key, value, headers}. */
    private static long sendListed(String topic, JsonNode records, Sink sink) {
        for (JsonNode r : records) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic,
                r.path("partition").asInt(0),
                r.has("timestamp") ? r.get("timestamp").asLong() : null,
                bytesOrNull(r.path("key")), bytesOrNull(r.path("value")));
            for (JsonNode h : r.path("headers")) {
                record.headers().add(new RecordHeader(h.get(0).asText(), bytesOrNull(h.get(1))));
            }
            sink.send(record);
        }
        return records.size();
    }

    /**
     * Sends `count` records whose value is "PARTITION:SEQUENCE" padded to `size` bytes, or to
     * anything from `size` to `size_to`; without `partition` the partitions take turns. The key is
     * `key` for all of them, or one of `keys` different ones.
     */
    private long sendCounted(String topic, JsonNode in, Sink sink) throws Exception {
        long count = in.get("count").asLong();
        long first = in.path("first").asLong(0);
        int size = in.path("size").asInt(100);
        int more = in.path("size_to").asInt(size) - size + 1;
        int only = in.path("partition").asInt(-1);
        int all = only >= 0 ? 1 : partitions.of(topic);
        int keys = in.path("keys").asInt(0);
        byte[] key = bytesOrNull(in.path("key"));
        for (long i = first; i < first + count; i++) {
            int partition = only >= 0 ? only : (int) (i % all);
            int padded = size + mixed(i, more) * mixed(~i, more) / more;  // mostly small
            sink.send(new ProducerRecord<>(topic, partition,
                keys > 0 ? ascii("k" + mixed(i, keys)) : key, value(partition, i, padded)));
        }
        return count;
    }

    /** One of 0 .. range - 1 without a pattern, the same for the same number. */
    private static int mixed(long number, int range) {
        return (int) (((number + 1) * 0x9E3779B97F4A7C15L >>> 33) % range);
    }

    private static byte[] value(int partition, long sequence, int size) {
        byte[] text = ascii(partition + ":" + sequence);
        byte[] padded = Arrays.copyOf(text, Math.max(size, text.length));
        Arrays.fill(padded, text.length, padded.length, (byte) '.');
        return padded;
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    private static byte[] bytesOrNull(JsonNode node) {
        return node.isMissingNode() || node.isNull() ? null
            : node.asText().getBytes(StandardCharsets.UTF_8);
    }
}

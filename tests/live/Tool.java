// SPDX-License-Identifier: Apache-2.0
//
// The hands of the live tests: Kafka's own producer and admin client behind one line of JSON for
// each command and each answer, in one JVM, so that a command costs milliseconds.
//
//   stdin   {"id": 7, "do": "create_topic", "topic": "t", "partitions": 4}
//   stdout  {"id": 7, "ok": true, "ms": 31, "result": ...}  or  {"id": 7, "ok": false, "error": ..}
//
// Commands run side by side; answers come in the order in which they end.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ShareGroupDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Tool {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long TIMEOUT_S = 60;

    private interface Command {
        Object run(JsonNode in) throws Exception;
    }

    private final String bootstrap;
    private final Admin admin;
    private final PrintStream out;
    private final Map<String, Command> commands = new HashMap<>();

    private Tool(String bootstrap, PrintStream out) {
        this.bootstrap = bootstrap;
        this.out = out;
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("default.api.timeout.ms", "30000");
        p.put("reconnect.backoff.max.ms", "200");
        admin = Admin.create(p);
        commands.put("ping", in -> get(admin.describeCluster().nodes()).size());
        commands.put("create_topic", this::createTopic);
        commands.put("delete_topic", in ->
            get(admin.deleteTopics(List.of(text(in, "topic"))).all()));
        commands.put("add_partitions", in -> get(admin.createPartitions(Map.of(text(in, "topic"),
            NewPartitions.increaseTo(in.get("partitions").asInt()))).all()));
        commands.put("group_config", in -> setConfigs(in, ConfigResource.Type.GROUP, "group"));
        commands.put("topic_config", in -> setConfigs(in, ConfigResource.Type.TOPIC, "topic"));
        commands.put("produce", this::produce);
        commands.put("end_offsets", this::endOffsets);
        commands.put("delete_records", this::deleteRecords);
        commands.put("describe_group", this::describeGroup);
        commands.put("group_offsets", this::groupOffsets);
        commands.put("leaders", this::leaders);
        commands.put("move_leader", this::moveLeader);
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);  // whatever else prints must not come between the answers
        Tool tool = new Tool(args[0], out);
        ExecutorService pool = Executors.newCachedThreadPool();
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode in = JSON.readTree(line);
            pool.execute(() -> tool.answer(in));
        }
        Runtime.getRuntime().halt(0);
    }

    private void answer(JsonNode in) {
        long start = System.nanoTime();
        ObjectNode reply = JSON.createObjectNode();
        reply.set("id", in.get("id"));
        try {
            Command command = commands.get(text(in, "do"));
            if (command == null) {
                throw new IllegalArgumentException("no such command: " + text(in, "do"));
            }
            reply.set("result", JSON.valueToTree(command.run(in)));
            reply.put("ok", true);
        } catch (Throwable t) {
            Throwable cause = t instanceof ExecutionException ? t.getCause() : t;
            reply.put("ok", false).put("error", cause.toString());
        }
        reply.put("ms", (System.nanoTime() - start) / 1_000_000);
        synchronized (out) {
            out.println(reply);
            out.flush();
        }
    }

    private static <T> T get(org.apache.kafka.common.KafkaFuture<T> future) throws Exception {
        return future.get(TIMEOUT_S, TimeUnit.SECONDS);
    }

    private static String text(JsonNode in, String name) {
        return in.get(name).asText();
    }

    private Object createTopic(JsonNode in) throws Exception {
        NewTopic topic = new NewTopic(text(in, "topic"), in.path("partitions").asInt(1),
            (short) in.path("replicas").asInt(1));
        Map<String, String> configs = new HashMap<>();
        in.path("configs").fields().forEachRemaining(
            e -> configs.put(e.getKey(), e.getValue().asText()));
        get(admin.createTopics(List.of(topic.configs(configs))).all());
        return null;
    }

    private Object setConfigs(JsonNode in, ConfigResource.Type type, String name)
            throws Exception {
        Collection<AlterConfigOp> ops = new ArrayList<>();
        in.get("configs").fields().forEachRemaining(e -> ops.add(new AlterConfigOp(
            new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
        ConfigResource resource = new ConfigResource(type, text(in, name));
        get(admin.incrementalAlterConfigs(Map.of(resource, ops)).all());
        return null;
    }

    /** The partitions of a topic; in a cluster not every broker knows a new one at once. */
    private List<TopicPartitionInfo> describe(String topic) throws Exception {
        for (int attempt = 0;; attempt++) {
            try {
                return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic)
                    .partitions();
            } catch (ExecutionException e) {
                boolean unknown = e.getCause() instanceof UnknownTopicOrPartitionException;
                if (!unknown || attempt == 50) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    private List<TopicPartition> partitionsOf(String topic) throws Exception {
        List<TopicPartition> all = new ArrayList<>();
        describe(topic).forEach(p -> all.add(new TopicPartition(topic, p.partition())));
        return all;
    }

    private Object endOffsets(JsonNode in) throws Exception {
        Map<TopicPartition, OffsetSpec> specs = new HashMap<>();
        partitionsOf(text(in, "topic")).forEach(tp -> specs.put(tp, OffsetSpec.latest()));
        Map<Integer, Long> ends = new TreeMap<>();
        get(admin.listOffsets(specs).all()).forEach(
            (tp, v) -> ends.put(tp.partition(), v.offset()));
        return ends;
    }

    private Object leaders(JsonNode in) throws Exception {
        Map<Integer, Integer> leaders = new TreeMap<>();
        describe(text(in, "topic")).forEach(
            p -> leaders.put(p.partition(), p.leader() == null ? -1 : p.leader().id()));
        return leaders;
    }

    /** Puts the only replica of a partition on another broker. */
    private Object moveLeader(JsonNode in) throws Exception {
        TopicPartition tp = new TopicPartition(text(in, "topic"), in.path("partition").asInt(0));
        var target = new NewPartitionReassignment(List.of(in.get("broker").asInt()));
        return get(admin.alterPartitionReassignments(Map.of(tp, Optional.of(target))).all());
    }

    private Object deleteRecords(JsonNode in) throws Exception {
        TopicPartition tp = new TopicPartition(text(in, "topic"), in.path("partition").asInt(0));
        RecordsToDelete before = RecordsToDelete.beforeOffset(in.get("before").asLong());
        return get(admin.deleteRecords(Map.of(tp, before)).lowWatermarks().get(tp)).lowWatermark();
    }

    private Object describeGroup(JsonNode in) throws Exception {
        String id = text(in, "group");
        ShareGroupDescription group;
        try {
            group = get(admin.describeShareGroups(List.of(id)).describedGroups().get(id));
        } catch (ExecutionException e) {
            if (e.getCause() instanceof GroupIdNotFoundException) {
                return Map.of("state", "None", "epoch", 0, "members", List.of());
            }
            throw e;
        }
        List<Object> members = new ArrayList<>();
        group.members().forEach(m -> {
            Map<String, List<Integer>> assigned = new TreeMap<>();
            m.assignment().topicPartitions().stream()
                .sorted((a, b) -> Integer.compare(a.partition(), b.partition()))
                .forEach(tp -> assigned.computeIfAbsent(tp.topic(), t -> new ArrayList<>())
                    .add(tp.partition()));
            members.add(Map.of("id", m.consumerId(), "client_id", m.clientId(), "host", m.host(),
                "epoch", m.memberEpoch(), "rack", m.rackId().orElse(""), "assignment", assigned));
        });
        return Map.of("state", group.groupState().toString(), "epoch", group.groupEpoch(),
            "members", members);
    }

    private Object groupOffsets(JsonNode in) throws Exception {
        String id = text(in, "group");
        ListShareGroupOffsetsSpec spec =
            new ListShareGroupOffsetsSpec().topicPartitions(partitionsOf(text(in, "topic")));
        Map<Integer, Map<String, Long>> offsets = new TreeMap<>();
        get(admin.listShareGroupOffsets(Map.of(id, spec)).partitionsToOffsetInfo(id)).forEach(
            (tp, info) -> {
                if (info != null) {
                    offsets.put(tp.partition(), Map.of("start", info.startOffset(),
                        "lag", info.lag().orElse(-1L)));
                }
            });
        return offsets;
    }

    // ---- producing

    private Object produce(JsonNode in) throws Exception {
        String topic = text(in, "topic");
        AtomicReference<Exception> failure = new AtomicReference<>();
        long start = System.nanoTime();
        long count;
        try (KafkaProducer<byte[], byte[]> producer = producer(in)) {
            begin(producer, in);
            count = in.has("records") ? sendListed(producer, topic, in.get("records"), failure)
                                      : sendCounted(producer, topic, in, failure);
            producer.flush();
            end(producer, in);
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        return Map.of("count", count, "ms", (System.nanoTime() - start) / 1_000_000);
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
        if (in.has("transaction")) {
            p.put("transactional.id", "tool-" + in.get("id").asText());
        } else {
            // An idempotent producer that meets a partition whose leader is just coming up can get
            // out of step with it and then crawls at one request a second (4.3.1).
            p.put("enable.idempotence", "false");
            p.put("max.in.flight.requests.per.connection", "1");
        }
        ByteArraySerializer bytes = new ByteArraySerializer();
        return new KafkaProducer<>(p, bytes, bytes);
    }

    /** Sends records written out one by one: {partition, timestamp, key, value, headers}. */
    private static long sendListed(KafkaProducer<byte[], byte[]> producer, String topic,
            JsonNode records, AtomicReference<Exception> failure) {
        for (JsonNode r : records) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic,
                r.path("partition").asInt(0),
                r.has("timestamp") ? r.get("timestamp").asLong() : null,
                bytesOrNull(r.path("key")), bytesOrNull(r.path("value")));
            for (JsonNode h : r.path("headers")) {
                record.headers().add(new RecordHeader(h.get(0).asText(), bytesOrNull(h.get(1))));
            }
            producer.send(record, (meta, e) -> failure.compareAndSet(null, e));
        }
        return records.size();
    }

    /**
     * Sends `count` records whose value is "PARTITION:SEQUENCE" padded to `size` bytes; without
     * `partition` the partitions take turns. `key`, if given, is used as it is for all of them.
     */
    private long sendCounted(KafkaProducer<byte[], byte[]> producer, String topic, JsonNode in,
            AtomicReference<Exception> failure) throws Exception {
        long count = in.get("count").asLong();
        long first = in.path("first").asLong(0);
        int size = in.path("size").asInt(100);
        int only = in.path("partition").asInt(-1);
        int partitions = only >= 0 ? 1 : partitionsOf(topic).size();
        byte[] key = bytesOrNull(in.path("key"));
        for (long i = first; i < first + count; i++) {
            int partition = only >= 0 ? only : (int) (i % partitions);
            producer.send(new ProducerRecord<>(topic, partition, key, value(partition, i, size)),
                (meta, e) -> failure.compareAndSet(null, e));
        }
        return count;
    }

    private static byte[] value(int partition, long sequence, int size) {
        byte[] text = (partition + ":" + sequence).getBytes(StandardCharsets.US_ASCII);
        byte[] padded = new byte[Math.max(size, text.length)];
        System.arraycopy(text, 0, padded, 0, text.length);
        java.util.Arrays.fill(padded, text.length, padded.length, (byte) '.');
        return padded;
    }

    private static byte[] bytesOrNull(JsonNode node) {
        return node.isMissingNode() || node.isNull() ? null
            : node.asText().getBytes(StandardCharsets.UTF_8);
    }
}

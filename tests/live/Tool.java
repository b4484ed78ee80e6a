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
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
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
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

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
        Producers producers =
            new Producers(bootstrap, topic -> partitionsOf(topic).size());
        commands.put("produce", producers::produce);
        commands.put("flow", producers::flow);
        commands.put("stop_flow", producers::stopFlow);
        commands.put("transaction", producers::transaction);
        commands.put("read", this::read);
        commands.put("end_offsets", this::endOffsets);
        commands.put("delete_records", this::deleteRecords);
        commands.put("describe_group", this::describeGroup);
        commands.put("group_offsets", this::groupOffsets);
        commands.put("leaders", this::leaders);
        commands.put("move_leader", this::moveLeader);
        commands.put("grant", in -> get(admin.createAcls(List.of(acl(in))).all()));
        commands.put("revoke", in ->
            get(admin.deleteAcls(List.of(acl(in).toFilter())).all()).size());
    }

    private static AclBinding acl(JsonNode in) {
        ResourceType type = ResourceType.fromString(text(in, "type"));
        return new AclBinding(
            new ResourcePattern(type, text(in, "name"), PatternType.LITERAL),
            new AccessControlEntry("User:" + text(in, "user"), "*",
                AclOperation.fromString(text(in, "operation")), AclPermissionType.ALLOW));
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

    /** Puts the replicas of a partition on these brokers, the first of them the leader. */
    private Object moveLeader(JsonNode in) throws Exception {
        TopicPartition tp = new TopicPartition(text(in, "topic"), in.path("partition").asInt(0));
        List<Integer> brokers = new ArrayList<>();
        in.get("brokers").forEach(b -> brokers.add(b.asInt()));
        var target = new NewPartitionReassignment(brokers);
        get(admin.alterPartitionReassignments(Map.of(tp, Optional.of(target))).all());
        if (brokers.size() > 1) {
            admin.electLeaders(ElectionType.PREFERRED, Set.of(tp)).all().get();
        }
        return null;
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

    /** The offsets that Kafka's plain consumer sees, from the start of a partition to its end. */
    private Object read(JsonNode in) {
        TopicPartition tp = new TopicPartition(text(in, "topic"), in.path("partition").asInt(0));
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("isolation.level", in.path("isolation").asText("read_uncommitted"));
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        List<Long> offsets = new ArrayList<>();
        ByteArrayDeserializer raw = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, raw, raw)) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            long end = consumer.endOffsets(List.of(tp)).get(tp);
            while (consumer.position(tp) < end) {
                consumer.poll(Duration.ofMillis(100)).forEach(r -> offsets.add(r.offset()));
            }
        }
        return offsets;
    }
}

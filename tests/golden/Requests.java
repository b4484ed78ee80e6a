// SPDX-License-Identifier: Apache-2.0
// Requests as kshare can send them, and their headers. Acknowledgements are put together by the
// reference client's own rule for batches.
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.internals.AcknowledgementBatch;
import org.apache.kafka.clients.consumer.internals.Acknowledgements;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData;
import org.apache.kafka.common.message.ShareFetchRequestData;
import org.apache.kafka.common.message.ShareGroupHeartbeatRequestData;
import org.apache.kafka.common.protocol.ApiKeys;

final class Requests {
    static final String UNICODE = "gr\u00fc\u00dfe \u2603 \ud83d\ude80";
    static final Uuid A = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);
    static final Uuid B = new Uuid(-1L, 0x7fffffffffffffffL);
    private final Golden golden;

    Requests(Golden golden) {
        this.golden = golden;
    }

    void all() {
        headers();
        apiVersions();
        metadata();
        coordinators();
        heartbeats();
        for (int version : new int[] {1, 2}) {
            fetches(version);
            acknowledges(version);
            session(version);
        }
        plainFetches();
    }

    static String repeated(String text, int count) {
        return text.repeat(count);
    }

    // ---- Headers, of the first request on a connection (ApiVersions) and of the one behind.
    private void header(String name, ApiKeys api, int version, int correlation, String client) {
        RequestHeaderData header = new RequestHeaderData().setRequestApiKey(api.id)
            .setRequestApiVersion((short) version).setCorrelationId(correlation)
            .setClientId(client);
        golden.header(name, "request_header", api.id, version, header,
            api.requestHeaderVersion((short) version), List.of("client=" + client), false);
    }
    private void headers() {
        String[] clients = {"", "id", UNICODE, repeated("c", 200)};
        String[] names = {"empty client id", "client id", "unicode client id", "long client id"};
        for (int i = 0; i < clients.length; i++) {
            for (int version : new int[] {3, 4, 5}) {
                header(names[i], ApiKeys.API_VERSIONS, version, 1, clients[i]);
            }
            header(names[i], ApiKeys.API_VERSIONS, 0, 2, clients[i]);
            header(names[i], ApiKeys.FETCH, 13, 2, clients[i]);
            header(names[i], ApiKeys.METADATA, 12, 2, clients[i]);
            header(names[i], ApiKeys.METADATA, 13, 2, clients[i]);
            for (int version : new int[] {4, 5, 6}) {
                header(names[i], ApiKeys.FIND_COORDINATOR, version, 2, clients[i]);
            }
            header(names[i], ApiKeys.SHARE_GROUP_HEARTBEAT, 1, 2, clients[i]);
            for (int version : new int[] {1, 2}) {
                header(names[i], ApiKeys.SHARE_FETCH, version, 2, clients[i]);
                header(names[i], ApiKeys.SHARE_ACKNOWLEDGE, version, 2, clients[i]);
            }
        }
    }

    // ---- The small ones.
    private void apiVersions() {
        for (int version : new int[] {0, 3, 4, 5}) {
            golden.request("kshare", version, new ApiVersionsRequestData()
                .setClientSoftwareName("kshare").setClientSoftwareVersion("0.1.0"));
            golden.request("long names", version, new ApiVersionsRequestData()
                .setClientSoftwareName(repeated("k", 127))
                .setClientSoftwareVersion(repeated("1.", 64) + "0-SNAPSHOT"));
        }
        for (int node : new int[] {0, Integer.MAX_VALUE}) {
            golden.request("to node " + node, 5, new ApiVersionsRequestData()
                .setClientSoftwareName("kshare").setClientSoftwareVersion("0.1.0")
                .setClusterId("MkU3OEVBNTcwNTJENDM2Qg").setNodeId(node));
        }
    }
    private void metadata() {
        for (int version : new int[] {12, 13}) {
            for (boolean create : new boolean[] {false, true}) {
                List<MetadataRequestData.MetadataRequestTopic> many = new ArrayList<>();
                for (int i = 0; i < 126; i++) many.add(named("topic-" + i));
                String how = create ? ", creating" : "";
                metadata("no topics" + how, version, create, List.of());
                metadata("one topic" + how, version, create, List.of(named("orders")));
                metadata("odd names" + how, version, create,
                    List.of(named(""), named(UNICODE), named(repeated("n", 249))));
                metadata("126 topics" + how, version, create, many);
            }
        }
    }
    private static MetadataRequestData.MetadataRequestTopic named(String name) {
        return new MetadataRequestData.MetadataRequestTopic().setName(name);
    }
    private void metadata(String name, int version, boolean create,
                          List<MetadataRequestData.MetadataRequestTopic> topics) {
        golden.request(name, version, new MetadataRequestData().setTopics(topics)
            .setAllowAutoTopicCreation(create));
    }
    private void coordinators() {
        for (int version : new int[] {4, 5, 6}) {
            for (String group : new String[] {"g", "", UNICODE, repeated("g", 300)}) {
                String name = group.length() > 20 ? "long group" : "group '" + group + "'";
                golden.request(name, version, new FindCoordinatorRequestData()
                    .setKeyType((byte) 0).setCoordinatorKeys(List.of(group)));
            }
        }
    }
    private void heartbeat(String name, String group, int epoch, String rack, List<String> names) {
        golden.request(name, 1, new ShareGroupHeartbeatRequestData().setGroupId(group)
            .setMemberId("0123456789012345678901").setMemberEpoch(epoch).setRackId(rack)
            .setSubscribedTopicNames(names));
    }
    private void heartbeats() {
        List<String> many = new ArrayList<>();
        for (int i = 0; i < 126; i++) many.add("t" + i);
        heartbeat("join", "group", 0, null, List.of("orders"));
        heartbeat("join with rack", "group", 0, "rack-1", List.of("orders", "payments"));
        heartbeat("join, unicode", UNICODE, 0, UNICODE, List.of(UNICODE, ""));
        heartbeat("join, 126 topics", "group", 0, "r", many);
        heartbeat("regular", "group", 258, null, null);
        heartbeat("regular, largest epoch", "group", Integer.MAX_VALUE, null, null);
        heartbeat("subscription changed", "group", 7, null, List.of("other"));
        heartbeat("no topics any more", "group", 7, null, List.of());
        heartbeat("leave", repeated("g", 255), -1, null, null);
    }
    private void plainFetches() {
        plainFetch("plain", A, 3, 0x0102030405060708L, 2048, 100);
        plainFetch("zeros", Uuid.ZERO_UUID, 0, 0, 0, 0);
        plainFetch("largest", B, Integer.MAX_VALUE, Long.MAX_VALUE, Integer.MAX_VALUE,
            Integer.MAX_VALUE);
        plainFetch("smallest", B, Integer.MIN_VALUE, Long.MIN_VALUE, Integer.MIN_VALUE,
            Integer.MIN_VALUE);
    }
    private void plainFetch(String name, Uuid topic, int partition, long offset, int max,
                            int wait) {
        golden.request(name, 13, new FetchRequestData().setMaxWaitMs(wait).setMinBytes(1)
            .setMaxBytes(max).setTopics(List.of(new FetchRequestData.FetchTopic()
                .setTopicId(topic).setPartitions(List.of(new FetchRequestData.FetchPartition()
                    .setPartition(partition).setFetchOffset(offset)
                    .setPartitionMaxBytes(max))))));
    }

    // ---- Acknowledgements: offset by offset, 0 is a gap.
    private static List<AcknowledgementBatch> batches(Object... words) {
        Acknowledgements acks = Acknowledgements.empty();
        for (int i = 0; i < words.length; i += 3) {
            long last = ((Number) words[i + 1]).longValue();
            for (long offset = ((Number) words[i]).longValue(); offset <= last; offset++) {
                byte type = ((Number) words[i + 2]).byteValue();
                if (type == 0) acks.addGap(offset);
                else acks.add(offset, AcknowledgeType.forId(type));
                if (offset == Long.MAX_VALUE) break;
            }
        }
        return acks.getAcknowledgementBatches();
    }
    // First offset, last offset, type, and so on.
    private static List<AcknowledgementBatch> mixture(boolean renew) {
        if (renew) return batches(5, 8, 4, 10, 40, 4, 50, 50, 4);
        return batches(0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 4, 4, 1, 10, 20, 1, 21, 25, 2, 30, 39, 3,
            40, 40, 1, 100, 300, 0, 301, 301, 1, 303, 303, 1, Long.MAX_VALUE - 1,
            Long.MAX_VALUE - 1, 2);
    }
    private static List<AcknowledgementBatch> alternating(int count) {
        List<Object> words = new ArrayList<>();
        for (int i = 0; i < count; i++) words.addAll(List.of(i, i, 1 + i % 2));
        return batches(words.toArray());
    }

    // ---- ShareFetch.
    private static ShareFetchRequestData.FetchPartition part(int index,
                                                             List<AcknowledgementBatch> acks) {
        return new ShareFetchRequestData.FetchPartition().setPartitionIndex(index)
            .setAcknowledgementBatches(
                acks.stream().map(AcknowledgementBatch::toShareFetchRequest).toList());
    }
    private static void topic(ShareFetchRequestData m, Uuid id,
                              ShareFetchRequestData.FetchPartition... parts) {
        m.topics().add(new ShareFetchRequestData.FetchTopic().setTopicId(id).setPartitions(
            new ShareFetchRequestData.FetchPartitionCollection(List.of(parts).iterator())));
    }
    private static void forget(ShareFetchRequestData m, Uuid id, List<Integer> parts) {
        m.forgottenTopicsData().add(new ShareFetchRequestData.ForgottenTopic().setTopicId(id)
            .setPartitions(parts));
    }
    private static ShareFetchRequestData fetch(int version, int epoch, int... numbers) {
        ShareFetchRequestData m = new ShareFetchRequestData().setGroupId("group")
            .setMemberId("0123456789012345678901").setShareSessionEpoch(epoch)
            .setMaxWaitMs(numbers[0]).setMinBytes(numbers[1]).setMaxBytes(numbers[2])
            .setMaxRecords(numbers[3]).setBatchSize(numbers[4]);
        if (version >= 2) m.setShareAcquireMode((byte) 1);
        return m;
    }
    private void fetches(int version) {
        ShareFetchRequestData opening = fetch(version, 0, 500, 1, 1 << 20, 48, 50);
        opening.setShareAcquireMode((byte) 0);
        topic(opening, A, part(0, List.of()), part(7, List.of()));
        topic(opening, B, part(Integer.MAX_VALUE, List.of()));
        golden.request("opening", version, opening);
        golden.request("nothing changed", version, fetch(version, Integer.MAX_VALUE,
            0, 0, 0, 0, 0));
        golden.request("largest", version, fetch(version, 1, Integer.MAX_VALUE,
            Integer.MAX_VALUE - 1, Integer.MAX_VALUE - 2, Integer.MAX_VALUE - 3,
            Integer.MAX_VALUE - 4));
        golden.request("smallest", version, fetch(version, -1, Integer.MIN_VALUE, -1, -2, -3, -4)
            .setGroupId(UNICODE).setMemberId(""));
        ShareFetchRequestData acks = fetch(version, 1, 1, 2, 3, 4, 5);
        topic(acks, A, part(0, mixture(false)), part(1, List.of()), part(2, batches(9, 9, 2)));
        topic(acks, B, part(0, alternating(126)), part(1, batches(0, 10, 1)));
        forget(acks, A, List.of(2, 1));
        forget(acks, B, List.of(Integer.MAX_VALUE));
        golden.request("acknowledgements and forgotten partitions", version, acks);
        ShareFetchRequestData many = fetch(version, 2, 5, 4, 3, 2, 1);
        ShareFetchRequestData.FetchPartition[] parts =
            new ShareFetchRequestData.FetchPartition[126];
        List<Integer> indexes = new ArrayList<>();
        for (int i = 0; i < parts.length; i++) {
            parts[i] = part(i, List.of());
            indexes.add(1000 + i);
        }
        topic(many, A, parts);
        forget(many, B, indexes);
        golden.request("126 partitions", version, many);
    }

    // ---- ShareAcknowledge.
    private static ShareAcknowledgeRequestData acks(int epoch, boolean renew) {
        return new ShareAcknowledgeRequestData().setGroupId("group")
            .setMemberId("0123456789012345678901").setShareSessionEpoch(epoch)
            .setIsRenewAck(renew);
    }
    private static ShareAcknowledgeRequestData topic(ShareAcknowledgeRequestData m, Uuid id,
                                                     int index, List<AcknowledgementBatch> acks) {
        ShareAcknowledgeRequestData.AcknowledgePartitionCollection parts =
            new ShareAcknowledgeRequestData.AcknowledgePartitionCollection();
        parts.add(new ShareAcknowledgeRequestData.AcknowledgePartition().setPartitionIndex(index)
            .setAcknowledgementBatches(
                acks.stream().map(AcknowledgementBatch::toShareAcknowledgeRequest).toList()));
        m.topics().add(new ShareAcknowledgeRequestData.AcknowledgeTopic().setTopicId(id)
            .setPartitions(parts));
        return m;
    }
    private void acknowledge(String name, int version, int epoch, boolean renew,
                             List<AcknowledgementBatch> first, List<AcknowledgementBatch> second) {
        golden.request(name, version, topic(topic(acks(epoch, renew), A, 0, first), B, 1, second));
    }
    private void acknowledges(int version) {
        acknowledge("terminal types", version, 1, false, mixture(false), alternating(50));
        acknowledge("largest epoch", version, Integer.MAX_VALUE, false, batches(0, 0, 1),
            batches(0, 1000, 3));
        acknowledge("final", version, -1, false, batches(7, 9, 2), mixture(false));
        golden.request("final, nothing left", version, acks(-1, false));
        if (version < 2) return;
        acknowledge("renewals", version, 3, true, mixture(true), batches(0, 0, 4));
    }

    // ---- One session from its opening to its end: tests/unit/test_golden_session.cpp plays it.
    private void session(int version) {
        Uuid id = new Uuid(0x0101010101010101L, 0x0101010101010101L);
        ShareFetchRequestData opening = fetch(version, 0, 500, 7, 2048, 10, 50);
        topic(opening, id, part(0, List.of()), part(1, List.of()), part(2, List.of()));
        golden.request("session, opening", version, opening);
        ShareFetchRequestData next = fetch(version, 1, 500, 7, 2048, 10, 50);
        topic(next, id, part(0, batches(10, 12, 1, 13, 13, 3, 20, 35, 2)),
            part(2, batches(5, 5, 2)));
        forget(next, id, List.of(2));
        golden.request("session, acks and a partition that leaves", version, next);
        int bytes = version < 2 ? 1 : 0;  // Kafka 4.1 refuses 0
        golden.request("session, nothing wanted", version,
            fetch(version, 2, 0, 0, bytes, 0, 50));
        golden.request("session, acks alone", version,
            topic(acks(3, false), id, 1, batches(0, 0, 1)));
        if (version >= 2) {
            golden.request("session, renewals", version,
                topic(acks(4, true), id, 0, batches(40, 41, 4)));
        }
        golden.request("session, end", version, topic(acks(-1, false), id, 1, batches(1, 1, 2)));
    }
}

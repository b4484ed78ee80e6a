// SPDX-License-Identifier: Apache-2.0
// Responses as brokers may send them: something in every field, nothing in any, extremes, errors,
// more than 127 entries.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.message.ShareAcknowledgeResponseData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.message.ShareGroupHeartbeatResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

final class Responses {
    private static final String UNICODE = Requests.UNICODE;
    private static final Uuid A = Requests.A;
    private static final Uuid B = Requests.B;
    private final Golden golden;

    Responses(Golden golden) {
        this.golden = golden;
    }

    void all() {
        headers();
        for (int version : new int[] {0, 3, 4, 5}) apiVersions(version);
        for (int version : new int[] {12, 13}) metadata(version);
        for (int version : new int[] {4, 5, 6}) coordinators(version);
        heartbeats();
        for (int version : new int[] {1, 2}) {
            fetches(version);
            acknowledges(version);
        }
        plainFetches();
    }

    private static short i16(int value) {
        return (short) value;
    }
    private static String longText(int octets) {
        return Requests.repeated("0123456789abcde ", octets / 16);
    }

    private void headers() {
        for (ApiKeys api : new ApiKeys[] {ApiKeys.API_VERSIONS, ApiKeys.METADATA}) {
            boolean first = api == ApiKeys.API_VERSIONS;
            int version = first ? 5 : 13;
            for (boolean tags : first ? new boolean[] {false} : new boolean[] {false, true}) {
                golden.header(tags ? "with tags" : "plain", "response_header", api.id, version,
                    new ResponseHeaderData().setCorrelationId(first ? 1 : 2),
                    api.responseHeaderVersion((short) version), List.of(), tags);
            }
        }
    }

    // ---- ApiVersions.
    private static ApiVersionsResponseData hello(int... ranges) {
        ApiVersionsResponseData m = new ApiVersionsResponseData();
        for (int i = 0; i < ranges.length; i += 3) {
            m.apiKeys().add(new ApiVersionsResponseData.ApiVersion().setApiKey(i16(ranges[i]))
                .setMinVersion(i16(ranges[i + 1])).setMaxVersion(i16(ranges[i + 2])));
        }
        return m;
    }
    private static void feature(ApiVersionsResponseData m, String name, int level) {
        m.finalizedFeatures().add(new ApiVersionsResponseData.FinalizedFeatureKey().setName(name)
            .setMaxVersionLevel(i16(level)).setMinVersionLevel(i16(5)));
        m.supportedFeatures().add(new ApiVersionsResponseData.SupportedFeatureKey().setName(name)
            .setMinVersion(i16(1)).setMaxVersion(i16(level)));
    }
    private void apiVersions(int version) {
        golden.response("some", version, hello(1, 4, 18, 78, 1, 2, 79, 1, 2, 18, 0, 5));
        golden.response("none", version, hello());
        ApiVersionsResponseData edge = hello(-32768, -32768, 32767, 32767, 0, 0, 0, -1, -1);
        ApiVersionsResponseData many = hello();
        for (int i = 0; i < 130; i++) {
            many.apiKeys().add(new ApiVersionsResponseData.ApiVersion().setApiKey(i16(i))
                .setMinVersion(i16(i % 3)).setMaxVersion(i16(i)));
        }
        if (version >= 1) {
            edge.setThrottleTimeMs(Integer.MAX_VALUE);
            many.setThrottleTimeMs(Integer.MIN_VALUE);
        }
        golden.response("extremes", version, edge);
        for (int error : new int[] {42, 58, 129, -1}) {
            golden.response("error " + error, version, hello().setErrorCode(i16(error)));
        }
        if (version == 0) {
            golden.response("refusal", version, hello(18, 0, 4).setErrorCode(i16(35)));
            golden.large("130 ranges", version, many);
            return;
        }
        for (int level : new int[] {0, 1, 2}) {
            ApiVersionsResponseData m = hello(78, 1, 2).setFinalizedFeaturesEpoch(Long.MAX_VALUE);
            feature(m, "metadata.version", 30);
            feature(m, "share.version", level);
            golden.response("share.version " + level, version, m.setZkMigrationReady(level == 2));
        }
        ApiVersionsResponseData off = hello(78, 1, 2).setFinalizedFeaturesEpoch(0);
        feature(off, "kraft.version", 32767);
        feature(off, "metadata.version", -32768);
        golden.response("no share.version", version, off);
        for (int i = 0; i < 130; i++) feature(many, "feature." + UNICODE + i, i);
        golden.large("130 ranges and features", version, many);
    }

    // ---- Metadata.
    private static MetadataResponseData.MetadataResponseBroker broker(int id, String host, int port,
                                                                      String rack) {
        return new MetadataResponseData.MetadataResponseBroker().setNodeId(id).setHost(host)
            .setPort(port).setRack(rack);
    }
    private static MetadataResponseData.MetadataResponsePartition leader(int error, int index,
            int id, int epoch, List<Integer> nodes) {
        return new MetadataResponseData.MetadataResponsePartition().setErrorCode(i16(error))
            .setPartitionIndex(index).setLeaderId(id).setLeaderEpoch(epoch).setReplicaNodes(nodes)
            .setIsrNodes(nodes).setOfflineReplicas(nodes.isEmpty() ? nodes : nodes.subList(0, 1));
    }
    private static void topic(MetadataResponseData m, int error, String name, Uuid id,
            List<MetadataResponseData.MetadataResponsePartition> parts) {
        m.topics().add(new MetadataResponseData.MetadataResponseTopic().setErrorCode(i16(error))
            .setName(name).setTopicId(id).setIsInternal(error != 0).setPartitions(parts)
            .setTopicAuthorizedOperations(Integer.MIN_VALUE));
    }
    private void metadata(int version) {
        golden.response("empty", version, new MetadataResponseData());
        MetadataResponseData m = new MetadataResponseData().setThrottleTimeMs(7)
            .setClusterId("the cluster").setControllerId(2);
        m.brokers().add(broker(1, "broker-1.example", 9092, "rack"));
        m.brokers().add(broker(2, "", -1, null));
        m.brokers().add(broker(Integer.MIN_VALUE, UNICODE, Integer.MAX_VALUE, ""));
        m.brokers().add(broker(3, Requests.repeated("h", 255), 0, longText(640)));
        topic(m, 0, "orders", A, List.of(leader(0, 0, 1, 5, List.of(1, 2, 3)),
            leader(5, 1, -1, -1, List.of()),
            leader(-1, Integer.MAX_VALUE, Integer.MIN_VALUE, Integer.MAX_VALUE, List.of(9))));
        topic(m, 3, "unknown", Uuid.ZERO_UUID, List.of());
        topic(m, 100, null, B, List.of());
        topic(m, 29, UNICODE, B.equals(A) ? A : new Uuid(1, 2), List.of());
        topic(m, 17, Requests.repeated("n", 249), new Uuid(3, 4), List.of());
        golden.response("all fields", version, m);
        MetadataResponseData many = new MetadataResponseData().setClusterId("").setControllerId(-1)
            .setThrottleTimeMs(Integer.MAX_VALUE);
        List<Integer> nodes = new ArrayList<>();
        List<MetadataResponseData.MetadataResponsePartition> parts = new ArrayList<>();
        for (int i = 0; i < 130; i++) {
            nodes.add(i);
            many.brokers().add(broker(i, "b" + i, 9000 + i, "r" + i % 3));
        }
        for (int i = 0; i < 140; i++) parts.add(leader(0, i, i % 130, i, nodes.subList(0, i % 3)));
        parts.add(leader(0, 140, 1, 1, nodes));
        topic(many, 0, "many", A, parts);
        golden.large("130 brokers, 141 partitions", version, many);
        if (version < 13) return;
        golden.response("error 129", version, new MetadataResponseData().setErrorCode(i16(129)));
    }

    // ---- FindCoordinator.
    private void coordinator(String name, int version, int id, String host, int port, int error,
                             String words) {
        golden.response(name, version, new FindCoordinatorResponseData().setThrottleTimeMs(3)
            .setCoordinators(List.of(new FindCoordinatorResponseData.Coordinator().setKey(UNICODE)
                .setNodeId(id).setHost(host).setPort(port).setErrorCode(i16(error))
                .setErrorMessage(words))));
    }
    private void coordinators(int version) {
        coordinator("found", version, 9, "10.0.0.9", 9099, 0, null);
        coordinator("found, no words", version, 0, UNICODE, 65535, 0, "");
        coordinator("not available", version, -1, "", -1, 15, "not yet: " + UNICODE);
        coordinator("long words", version, Integer.MIN_VALUE, Requests.repeated("h", 255),
            Integer.MAX_VALUE, 30, longText(1600));
        List<FindCoordinatorResponseData.Coordinator> three = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            three.add(new FindCoordinatorResponseData.Coordinator().setKey("g" + i).setNodeId(i)
                .setHost("h" + i).setPort(i).setErrorCode(i16(i)).setErrorMessage("e" + i));
        }
        golden.response("three", version, new FindCoordinatorResponseData()
            .setThrottleTimeMs(Integer.MAX_VALUE).setCoordinators(three));
    }

    // ---- ShareGroupHeartbeat.
    private static ShareGroupHeartbeatResponseData beat(int error, String words, String member,
                                                        int epoch, int interval) {
        return new ShareGroupHeartbeatResponseData().setThrottleTimeMs(epoch)
            .setErrorCode(i16(error)).setErrorMessage(words).setMemberId(member)
            .setMemberEpoch(epoch).setHeartbeatIntervalMs(interval);
    }
    private static ShareGroupHeartbeatResponseData.TopicPartitions assigned(Uuid id,
                                                                            List<Integer> parts) {
        return new ShareGroupHeartbeatResponseData.TopicPartitions().setTopicId(id)
            .setPartitions(parts);
    }
    private void heartbeats() {
        List<Integer> many = new ArrayList<>();
        for (int i = 0; i < 130; i++) many.add(i * 1000003);
        golden.response("unchanged", 1, beat(0, null, "member", 4, 5000));
        golden.response("empty assignment", 1, beat(0, "", "", 1, 3000).setAssignment(
            new ShareGroupHeartbeatResponseData.Assignment()));
        golden.response("assignment", 1, beat(0, null, null, Integer.MAX_VALUE, Integer.MAX_VALUE)
            .setAssignment(new ShareGroupHeartbeatResponseData.Assignment().setTopicPartitions(
                List.of(assigned(A, List.of(0, 1, Integer.MAX_VALUE)), assigned(B, List.of()),
                    assigned(Uuid.ZERO_UUID, List.of(Integer.MIN_VALUE)), assigned(B, many)))));
        for (int error : new int[] {16, 25, 35, 42, 81, 110, 112, -1}) {
            golden.response("error " + error, 1, beat(error, "words of " + UNICODE, null, 0, 0));
        }
        golden.response("long words", 1, beat(30, longText(2400), UNICODE, -1, Integer.MIN_VALUE));
        List<ShareGroupHeartbeatResponseData.TopicPartitions> topics = new ArrayList<>();
        for (int i = 0; i < 130; i++) topics.add(assigned(new Uuid(i, -i), List.of(i)));
        golden.large("130 topics", 1, beat(0, null, "m", 2, 1).setAssignment(
            new ShareGroupHeartbeatResponseData.Assignment().setTopicPartitions(topics)));
    }

    // ---- ShareFetch.
    private static MemoryRecords someRecords(int count) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int i = 0; i < count; i++) {
            byte[] text = (UNICODE + i).getBytes(StandardCharsets.UTF_8);
            records[i] = new SimpleRecord(1700000000000L + i, i % 2 == 0 ? null : text,
                i % 3 == 0 ? null : text, i % 2 == 0 ? new RecordHeader[0]
                    : new RecordHeader[] {new RecordHeader("h", null), new RecordHeader("", text)});
        }
        return MemoryRecords.withRecords(Long.MAX_VALUE - 1000, Compression.NONE, records);
    }
    private static ShareFetchResponseData.PartitionData part(int index, int error, String words,
                                                             int ackError, String ackWords) {
        return new ShareFetchResponseData.PartitionData().setPartitionIndex(index)
            .setErrorCode(i16(error)).setErrorMessage(words).setAcknowledgeErrorCode(i16(ackError))
            .setAcknowledgeErrorMessage(ackWords).setRecords(MemoryRecords.EMPTY);  // never null
    }
    private static ShareFetchResponseData.AcquiredRecords range(long first, long last, int count) {
        return new ShareFetchResponseData.AcquiredRecords().setFirstOffset(first)
            .setLastOffset(last).setDeliveryCount(i16(count));
    }
    private static void topic(ShareFetchResponseData m, Uuid id,
                              ShareFetchResponseData.PartitionData... parts) {
        m.responses().add(new ShareFetchResponseData.ShareFetchableTopicResponse().setTopicId(id)
            .setPartitions(List.of(parts)));
    }
    private static void node(ShareFetchResponseData m, int id, String host, int port, String rack) {
        m.nodeEndpoints().add(new ShareFetchResponseData.NodeEndpoint().setNodeId(id).setHost(host)
            .setPort(port).setRack(rack));
    }
    private static List<ShareFetchResponseData.AcquiredRecords> ranges(int count) {
        List<ShareFetchResponseData.AcquiredRecords> all = new ArrayList<>();
        for (int i = 0; i < count; i++) all.add(range(i * 10L, i * 10L + 5, 1 + i % 5));
        return all;
    }
    private void fetches(int version) {
        golden.response("empty", version, new ShareFetchResponseData());
        for (int error : new int[] {29, 35, 42, 122, 123, 133, -1}) {
            golden.response("error " + error, version, new ShareFetchResponseData()
                .setErrorCode(i16(error)).setErrorMessage(error == 122 ? null : UNICODE));
        }
        ShareFetchResponseData m = new ShareFetchResponseData().setThrottleTimeMs(1)
            .setErrorMessage("").setAcquisitionLockTimeoutMs(30000);
        topic(m, A, part(0, 0, null, 0, null).setRecords(someRecords(3))
                .setAcquiredRecords(List.of(range(10, 19, 1), range(25, 25, 32767))),
            part(1, 6, "moved", 121, longText(640))
                .setCurrentLeader(new ShareFetchResponseData.LeaderIdAndEpoch().setLeaderId(2)
                    .setLeaderEpoch(8)),
            part(2, 74, longText(1280), 0, "")
                .setCurrentLeader(new ShareFetchResponseData.LeaderIdAndEpoch()
                    .setLeaderId(Integer.MIN_VALUE).setLeaderEpoch(Integer.MAX_VALUE)));
        topic(m, B);
        topic(m, Uuid.ZERO_UUID, part(Integer.MAX_VALUE, -1, "", 42, UNICODE)
            .setAcquiredRecords(List.of(range(Long.MAX_VALUE, Long.MIN_VALUE, -32768))));
        node(m, 2, "two.example", 9094, null);
        node(m, Integer.MAX_VALUE, UNICODE, Integer.MIN_VALUE, "rack");
        node(m, -1, "", 0, "");
        golden.response("all fields", version, m);
        ShareFetchResponseData many = new ShareFetchResponseData()
            .setAcquisitionLockTimeoutMs(Integer.MAX_VALUE);
        ShareFetchResponseData.PartitionData[] parts =
            new ShareFetchResponseData.PartitionData[130];
        for (int i = 0; i < parts.length; i++) parts[i] = part(i, 0, null, 0, null);
        parts[1].setRecords(someRecords(20)).setAcquiredRecords(ranges(130));
        topic(many, A, parts);
        for (int i = 0; i < 130; i++) node(many, i, "n" + i, i, i % 2 == 0 ? null : "r");
        golden.large("130 partitions, ranges and nodes", version, many);
    }

    // ---- ShareAcknowledge.
    private static ShareAcknowledgeResponseData.PartitionData done(int index, int error,
            String words, int leader, int epoch) {
        return new ShareAcknowledgeResponseData.PartitionData().setPartitionIndex(index)
            .setErrorCode(i16(error)).setErrorMessage(words).setCurrentLeader(
                new ShareAcknowledgeResponseData.LeaderIdAndEpoch().setLeaderId(leader)
                    .setLeaderEpoch(epoch));
    }
    private void acknowledges(int version) {
        golden.response("empty", version, new ShareAcknowledgeResponseData());
        for (int error : new int[] {35, 42, 122, 123, -1}) {
            golden.response("error " + error, version, new ShareAcknowledgeResponseData()
                .setErrorCode(i16(error)).setErrorMessage(error == 122 ? null : UNICODE));
        }
        ShareAcknowledgeResponseData m = new ShareAcknowledgeResponseData().setThrottleTimeMs(-1)
            .setErrorMessage(longText(960));
        List<ShareAcknowledgeResponseData.PartitionData> many = new ArrayList<>();
        for (int i = 0; i < 130; i++) many.add(done(i, i % 2 == 0 ? 0 : 121, "w" + i, 0, 0));
        if (version >= 2) m.setAcquisitionLockTimeoutMs(15000);
        m.responses().add(new ShareAcknowledgeResponseData.ShareAcknowledgeTopicResponse()
            .setTopicId(A).setPartitions(List.of(done(0, 0, null, 0, 0), done(1, 6, "", 2, 8),
                done(Integer.MAX_VALUE, 74, UNICODE, Integer.MIN_VALUE, Integer.MAX_VALUE))));
        m.responses().add(new ShareAcknowledgeResponseData.ShareAcknowledgeTopicResponse()
            .setTopicId(B).setPartitions(many));
        for (int i = 0; i < 130; i++) {
            m.nodeEndpoints().add(new ShareAcknowledgeResponseData.NodeEndpoint().setNodeId(i)
                .setHost("n" + i).setPort(9000 + i).setRack(i % 3 == 0 ? null : UNICODE));
        }
        golden.response("all fields, 130 partitions and nodes", version, m);
    }

    // ---- Fetch.
    private static FetchResponseData.PartitionData read(int index, int error, long start) {
        return new FetchResponseData.PartitionData().setPartitionIndex(index)
            .setErrorCode(i16(error)).setHighWatermark(Long.MAX_VALUE)
            .setLastStableOffset(Long.MIN_VALUE).setLogStartOffset(start);
    }
    private static List<FetchResponseData.AbortedTransaction> aborted(int count) {
        List<FetchResponseData.AbortedTransaction> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(new FetchResponseData.AbortedTransaction().setProducerId(-i)
                .setFirstOffset(Long.MAX_VALUE - i));
        }
        return all;
    }
    private void plainFetches() {
        golden.response("empty", 13, new FetchResponseData());
        golden.response("error 70", 13, new FetchResponseData().setErrorCode(i16(70))
            .setThrottleTimeMs(Integer.MAX_VALUE).setSessionId(Integer.MIN_VALUE));
        FetchResponseData m = new FetchResponseData().setThrottleTimeMs(2);
        FetchResponseData.PartitionData moved = read(1, 6, -1).setAbortedTransactions(null)
            .setRecords(null).setPreferredReadReplica(Integer.MAX_VALUE);
        moved.setCurrentLeader(new FetchResponseData.LeaderIdAndEpoch().setLeaderId(4)
            .setLeaderEpoch(9));
        moved.setDivergingEpoch(new FetchResponseData.EpochEndOffset().setEpoch(3)
            .setEndOffset(77));
        moved.setSnapshotId(new FetchResponseData.SnapshotId().setEndOffset(5).setEpoch(6));
        m.responses().add(new FetchResponseData.FetchableTopicResponse().setTopicId(A)
            .setPartitions(List.of(read(0, 0, 5).setAbortedTransactions(aborted(3))
                .setRecords(someRecords(5)), moved, read(2, 1, Long.MAX_VALUE)
                .setRecords(MemoryRecords.EMPTY).setAbortedTransactions(aborted(130)))));
        m.responses().add(new FetchResponseData.FetchableTopicResponse().setTopicId(B));
        golden.response("all fields", 13, m);
    }
}

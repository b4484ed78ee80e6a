// SPDX-License-Identifier: Apache-2.0
// What was put into a message, as lines: of a response those items that kshare's decoders must
// give, in the words of tests/support/decoders.hpp; of a request the values to encode.
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData;
import org.apache.kafka.common.message.ShareAcknowledgeResponseData;
import org.apache.kafka.common.message.ShareFetchRequestData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.message.ShareGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ShareGroupHeartbeatResponseData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

final class Lines {
    private final List<String> all = new ArrayList<>();

    static List<String> ofResponse(ApiMessage m, int version) {
        Lines lines = new Lines();
        if (m instanceof ApiVersionsResponseData) lines.of((ApiVersionsResponseData) m, version);
        else if (m instanceof MetadataResponseData) lines.of((MetadataResponseData) m, version);
        else if (m instanceof FindCoordinatorResponseData) {
            lines.of((FindCoordinatorResponseData) m);
        } else if (m instanceof ShareGroupHeartbeatResponseData) {
            lines.of((ShareGroupHeartbeatResponseData) m);
        } else if (m instanceof ShareFetchResponseData) lines.of((ShareFetchResponseData) m);
        else if (m instanceof ShareAcknowledgeResponseData) {
            lines.of((ShareAcknowledgeResponseData) m, version);
        } else lines.of((FetchResponseData) m);
        return lines.all;
    }

    static List<String> ofRequest(ApiMessage m) {
        Lines lines = new Lines();
        if (m instanceof ApiVersionsRequestData) lines.of((ApiVersionsRequestData) m);
        else if (m instanceof MetadataRequestData) lines.of((MetadataRequestData) m);
        else if (m instanceof FindCoordinatorRequestData) lines.of((FindCoordinatorRequestData) m);
        else if (m instanceof ShareGroupHeartbeatRequestData) {
            lines.of((ShareGroupHeartbeatRequestData) m);
        } else if (m instanceof ShareFetchRequestData) lines.of((ShareFetchRequestData) m);
        else if (m instanceof ShareAcknowledgeRequestData) {
            lines.of((ShareAcknowledgeRequestData) m);
        } else lines.of((FetchRequestData) m);
        return lines.all;
    }

    private void say(Object... parts) {
        StringBuilder line = new StringBuilder();
        for (Object part : parts) {
            if (line.length() != 0) line.append(' ');
            line.append(part);
        }
        all.add(line.toString());
    }
    private void value(String key, Object value) {
        if (value != null) all.add(key + "=" + value);
    }

    // ---- How decoders.hpp shows things.
    private static String text(String text) {
        return text == null ? "null" : "'" + text + "'";
    }
    // The broker's words: null and empty are the same to kshare.
    private static String words(String text) {
        return text == null ? "''" : "'" + text + "'";
    }
    static String id(Uuid id) {
        return String.format("%016x%016x", id.getMostSignificantBits(),
            id.getLeastSignificantBits());
    }
    private void node(String name, int id, String host, int port) {
        say(name, id, text(host), port);
    }
    private void records(BaseRecords records) {
        if (records == null || records.sizeInBytes() == 0) return;
        ByteBuffer bytes = ((MemoryRecords) records).buffer();
        StringBuilder hex = new StringBuilder();
        while (bytes.hasRemaining()) hex.append(String.format("%02x", bytes.get()));
        say("bytes", records.sizeInBytes());
        say("records", hex);
    }

    // ---- Responses.
    private void of(ApiVersionsResponseData m, int version) {
        m.apiKeys().forEach(api -> say("range", api.apiKey(), api.minVersion(), api.maxVersion()));
        boolean features = version >= 3 && !m.finalizedFeatures().isEmpty();
        if (features) {
            m.finalizedFeatures().forEach(
                one -> say("feature", text(one.name()), one.maxVersionLevel()));
        }
        say("end", m.errorCode(), features ? "features" : "none");
    }
    private void of(MetadataResponseData m, int version) {
        m.brokers().forEach(b -> node("broker", b.nodeId(), b.host(), b.port()));
        say("cluster", words(m.clusterId()));
        m.topics().forEach(topic -> {
            say("topic", text(topic.name()), id(topic.topicId()), topic.errorCode());
            topic.partitions().forEach(p -> say("partition", id(topic.topicId()),
                p.partitionIndex(), p.leaderId(), p.leaderEpoch(), p.errorCode()));
        });
        say("end", m.throttleTimeMs(), version >= 13 ? m.errorCode() : 0);
    }
    private void of(FindCoordinatorResponseData m) {
        m.coordinators().forEach(one -> node("coordinator", one.nodeId(), one.host(), one.port()));
        FindCoordinatorResponseData.Coordinator last =
            m.coordinators().get(m.coordinators().size() - 1);
        say("end", m.throttleTimeMs(), last.errorCode(), words(last.errorMessage()));
    }
    private void of(ShareGroupHeartbeatResponseData m) {
        say("head", m.throttleTimeMs(), m.errorCode(), words(m.errorMessage()), m.memberEpoch(),
            m.heartbeatIntervalMs());
        if (m.assignment() != null) {
            say("assignment");
            m.assignment().topicPartitions().forEach(topic -> topic.partitions().forEach(
                partition -> say("partition", id(topic.topicId()), partition)));
        }
        say("end");
    }
    private void of(ShareFetchResponseData m) {
        say("head", m.throttleTimeMs(), m.errorCode(), words(m.errorMessage()),
            m.acquisitionLockTimeoutMs());
        m.responses().forEach(topic -> topic.partitions().forEach(p -> {
            say("partition", id(topic.topicId()), p.partitionIndex(), p.errorCode(),
                p.acknowledgeErrorCode(), p.currentLeader().leaderId(),
                p.currentLeader().leaderEpoch());
            records(p.records());
            p.acquiredRecords().forEach(one -> say("acquired", one.firstOffset(), one.lastOffset(),
                one.deliveryCount()));
            say("partition_end");
        }));
        m.nodeEndpoints().forEach(one -> node("node", one.nodeId(), one.host(), one.port()));
        say("end");
    }
    private void of(ShareAcknowledgeResponseData m, int version) {
        say("head", m.throttleTimeMs(), m.errorCode(), words(m.errorMessage()),
            version >= 2 ? m.acquisitionLockTimeoutMs() : 0);
        m.responses().forEach(topic -> topic.partitions().forEach(p -> say("partition",
            id(topic.topicId()), p.partitionIndex(), p.errorCode(), p.currentLeader().leaderId(),
            p.currentLeader().leaderEpoch())));
        m.nodeEndpoints().forEach(one -> node("node", one.nodeId(), one.host(), one.port()));
        say("end");
    }
    private void of(FetchResponseData m) {
        say("head", m.throttleTimeMs(), m.errorCode());
        m.responses().forEach(topic -> topic.partitions().forEach(p -> {
            say("partition", id(topic.topicId()), p.partitionIndex(), p.errorCode(),
                p.logStartOffset());
            records(p.records());
            say("partition_end");
        }));
        say("end");
    }

    // ---- Requests.
    private void of(ApiVersionsRequestData m) {
        value("name", m.clientSoftwareName());
        value("version", m.clientSoftwareVersion());
        value("cluster", m.clusterId() == null ? "" : m.clusterId());
        value("node", m.nodeId());
    }
    private void of(MetadataRequestData m) {
        m.topics().forEach(topic -> value("topic", topic.name()));
        value("create", m.allowAutoTopicCreation() ? 1 : 0);
    }
    private void of(FindCoordinatorRequestData m) {
        value("group", m.coordinatorKeys().get(0));
    }
    private void of(ShareGroupHeartbeatRequestData m) {
        value("group", m.groupId());
        value("member", m.memberId());
        value("epoch", m.memberEpoch());
        value("rack", m.rackId());
        value("names", m.subscribedTopicNames() == null ? 0 : 1);
        if (m.subscribedTopicNames() == null) return;
        m.subscribedTopicNames().forEach(name -> value("topic", name));
    }
    private static String types(List<Byte> types) {
        StringBuilder line = new StringBuilder();
        types.forEach(type -> line.append(' ').append(type));
        return line.toString();
    }
    private void of(ShareFetchRequestData m) {
        value("group", m.groupId());
        value("member", m.memberId());
        value("epoch", m.shareSessionEpoch());
        value("wait", m.maxWaitMs());
        value("min", m.minBytes());
        value("max", m.maxBytes());
        value("records", m.maxRecords());
        value("batch", m.batchSize());
        value("mode", m.shareAcquireMode());
        m.topics().forEach(topic -> {
            value("topic", id(topic.topicId()));
            topic.partitions().forEach(partition -> {
                value("partition", partition.partitionIndex());
                partition.acknowledgementBatches().forEach(one -> value("acks",
                    one.firstOffset() + " " + one.lastOffset() + types(one.acknowledgeTypes())));
            });
        });
        m.forgottenTopicsData().forEach(topic -> {
            value("forgotten", id(topic.topicId()));
            topic.partitions().forEach(partition -> value("partition", partition));
        });
    }
    private void of(ShareAcknowledgeRequestData m) {
        value("group", m.groupId());
        value("member", m.memberId());
        value("epoch", m.shareSessionEpoch());
        value("renew", m.isRenewAck() ? 1 : 0);
        m.topics().forEach(topic -> {
            value("topic", id(topic.topicId()));
            topic.partitions().forEach(partition -> {
                value("partition", partition.partitionIndex());
                partition.acknowledgementBatches().forEach(one -> value("acks",
                    one.firstOffset() + " " + one.lastOffset() + types(one.acknowledgeTypes())));
            });
        });
    }
    private void of(FetchRequestData m) {
        FetchRequestData.FetchTopic topic = m.topics().get(0);
        value("topic", id(topic.topicId()));
        value("partition", topic.partitions().get(0).partition());
        value("offset", topic.partitions().get(0).fetchOffset());
        value("max", m.maxBytes());
        value("wait", m.maxWaitMs());
    }
}

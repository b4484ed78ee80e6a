// SPDX-License-Identifier: Apache-2.0
// message/*.hpp, requests: the octets, against the schemas by hand.
#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kshare/message/api_versions.hpp"
#include "kshare/message/fetch.hpp"
#include "kshare/message/find_coordinator.hpp"
#include "kshare/message/metadata.hpp"
#include "kshare/message/share_acknowledge.hpp"
#include "kshare/message/share_fetch.hpp"
#include "kshare/message/share_group_heartbeat.hpp"

namespace test_requests {
namespace {

// A writer on memory of its own, and what it wrote in hex.
struct Page {
  explicit Page(uint32_t capacity = 512)
      : memory(new uint8_t[capacity]), out(memory.get(), capacity) {}
  std::string hex() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (uint32_t i = 0; i < out.size(); ++i) {
      text += kDigits[memory[i] >> 4];
      text += kDigits[memory[i] & 15u];
    }
    return text;
  }
  std::unique_ptr<uint8_t[]> memory;
  kshare::Writer out;
};

kshare::Uuid uuid(uint8_t first) {
  kshare::Uuid id;
  for (uint8_t& octet : id.octets) octet = first++;
  return id;
}
constexpr const char* kUuid = "101112131415161718191a1b1c1d1e1f";

}  // namespace

TEST_CASE("ApiVersions 3 to 5 name the client's software, 5 no cluster; version 0 has no body") {
  for (int16_t version : {int16_t{3}, int16_t{4}, int16_t{5}}) {
    Page page;
    kshare::encode_api_versions(page.out, version, "kshare", "0.1");
    CHECK(page.hex() == std::string("07") + "6b7368617265" +         // ClientSoftwareName
                            "04" + "302e31" +                        // ClientSoftwareVersion
                            (version == 5 ? "00" "ffffffff" : "") +  // ClusterId, NodeId
                            "00");                                   // tags
  }
  Page none;
  kshare::encode_api_versions(none.out, 0, "kshare", "0.1");
  CHECK(none.out.size() == 0);
}

TEST_CASE("Metadata asks by name, and never creates topics unless told to") {
  for (bool create : {false, true}) {
    Page page;
    const uint32_t topics = page.out.begin_array();
    kshare::encode_metadata_topic(page.out, "ab");
    kshare::encode_metadata_topic(page.out, "c");
    page.out.end_array(topics, 2);
    kshare::encode_metadata_tail(page.out, create);
    CHECK(page.hex() == std::string("03") +                                    // Topics
                            "00000000000000000000000000000000" + "036162" +    // TopicId, Name
                            "00" +                                             // tags
                            "00000000000000000000000000000000" + "0263" + "00" +
                            (create ? "01" : "00") +                           // AllowAuto...
                            "00" +                                             // IncludeTopic...
                            "00");                                             // tags
  }
}

TEST_CASE("FindCoordinator asks for one group, with key type GROUP") {
  Page page;
  kshare::encode_find_coordinator(page.out, "gw");
  CHECK(page.hex() == std::string("00") +            // KeyType
                          "02" + "036777" +          // CoordinatorKeys
                          "00");                     // tags
}

TEST_CASE("a heartbeat: a rack that is given, and one that is not and travels as null") {
  Page page;
  kshare::HeartbeatHead head;
  head.group_id = "gw";
  head.member_id = "m1";
  head.member_epoch = 258;
  head.rack_id = "r";
  kshare::encode_heartbeat_head(page.out, head);
  CHECK(page.hex() == std::string("036777") +  // GroupId
                          "036d31" +           // MemberId
                          "00000102" +         // MemberEpoch
                          "0272");             // RackId
  Page leave;
  head.member_epoch = -1;
  head.rack_id = {};
  kshare::encode_heartbeat_head(leave.out, head);
  CHECK(leave.hex() == std::string("036777") + "036d31" + "ffffffff" + "00");
}

TEST_CASE("the head of a ShareFetch has every number in its place") {
  Page page;
  kshare::ShareFetchHead head;
  head.group_id = "gw";
  head.member_id = "m1";
  head.session_epoch = 0x01020304;
  head.max_wait_ms = 500;
  head.min_bytes = 1;
  head.max_bytes = 0x7FFFFFFF;
  head.max_records = 48;
  head.batch_size = 50;
  head.acquire_mode = 1;
  kshare::encode_share_fetch_head(page.out, 2, head);
  const std::string first = std::string("036777") +   // GroupId
                            "036d31" +                // MemberId
                            "01020304" +              // ShareSessionEpoch
                            "000001f4" +              // MaxWaitMs
                            "00000001" +              // MinBytes
                            "7fffffff" +              // MaxBytes
                            "00000030" +              // MaxRecords
                            "00000032";               // BatchSize
  CHECK(page.hex() == first + "01" +                  // ShareAcquireMode
                          "00");                      // IsRenewAck
  Page old;
  kshare::encode_share_fetch_head(old.out, 1, head);
  CHECK(old.hex() == first);
}

TEST_CASE("the head of a ShareAcknowledge, with and without renewals") {
  kshare::ShareAcknowledgeHead head;
  head.group_id = "gw";
  head.member_id = "m1";
  head.session_epoch = -1;
  const std::string first = std::string("036777") +   // GroupId
                            "036d31" +                // MemberId
                            "ffffffff";               // ShareSessionEpoch
  for (bool renew : {false, true}) {
    head.renew = renew;
    Page page;
    kshare::encode_share_acknowledge_head(page.out, 2, head);
    CHECK(page.hex() == first + (renew ? "01" : "00"));  // IsRenewAck
    Page old;
    kshare::encode_share_acknowledge_head(old.out, 1, head);
    CHECK(old.hex() == first);
  }
}

TEST_CASE("a plain Fetch of one partition, without a session") {
  Page page;
  kshare::FetchOne fetch;
  fetch.topic_id = uuid(0x10);
  fetch.partition = 3;
  fetch.offset = 0x0102030405060708;
  fetch.max_bytes = 2048;
  fetch.max_wait_ms = 100;
  kshare::encode_fetch(page.out, fetch);
  CHECK(page.hex() == std::string("ffffffff") +     // ReplicaId
                          "00000064" +              // MaxWaitMs
                          "00000001" +              // MinBytes
                          "00000800" +              // MaxBytes
                          "00" +                    // IsolationLevel
                          "00000000" +              // SessionId
                          "ffffffff" +              // SessionEpoch
                          "02" + kUuid +            // Topics, TopicId
                          "02" + "00000003" +       // Partitions, Partition
                          "ffffffff" +              // CurrentLeaderEpoch
                          "0102030405060708" +      // FetchOffset
                          "ffffffff" +              // LastFetchedEpoch
                          "ffffffffffffffff" +      // LogStartOffset
                          "00000800" +              // PartitionMaxBytes
                          "00" + "00" +             // tags of the partition, of the topic
                          "01" +                    // ForgottenTopicsData
                          "01" +                    // RackId
                          "00");                    // tags
}

TEST_CASE("a request that does not fit says so, whatever is missing") {
  kshare::FetchOne fetch;
  Page whole;
  kshare::encode_fetch(whole.out, fetch);
  for (uint32_t capacity = 0; capacity < whole.out.size(); ++capacity) {
    Page page{capacity};
    kshare::encode_fetch(page.out, fetch);
    CHECK_FALSE(page.out.ok());
  }
  Page exact{whole.out.size()};
  kshare::encode_fetch(exact.out, fetch);
  CHECK(exact.out.ok());
}

}  // namespace test_requests

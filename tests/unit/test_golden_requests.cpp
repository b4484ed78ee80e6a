// SPDX-License-Identifier: Apache-2.0
// Requests as Kafka's own Java classes serialise them (tests/golden): ours are the same, octet for
// octet.
#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <vector>

#include "../support/batches.hpp"
#include "../support/golden.hpp"
#include "../support/wire.hpp"
#include "kshare/ack/ack_batches.hpp"

namespace test_golden_requests {

using decoders::Message;
using decoders::size_of;
using golden::hex_of;
using golden::Vector;
using golden::What;
using kshare::Writer;

namespace {

// "key=value" lines, taken in their order.
class Fields {
 public:
  explicit Fields(const Vector& vector) : lines_(golden::lines_of(vector)) {}

  bool at(const std::string& key) const {
    return next_ < lines_.size() && lines_[next_].compare(0, key.size() + 1, key + "=") == 0;
  }
  // The texts live as long as this.
  std::string_view text(const std::string& key) {
    REQUIRE(at(key));
    return std::string_view(lines_[next_++]).substr(key.size() + 1);
  }
  int64_t number(const std::string& key) { return std::stoll(std::string(text(key))); }
  int32_t i32(const std::string& key) { return static_cast<int32_t>(number(key)); }
  kshare::Uuid uuid(const std::string& key) {
    const Message octets = golden::octets_of(std::string(text(key)));
    kshare::Uuid id;
    REQUIRE(octets.size() == sizeof id.octets);
    std::memcpy(id.octets, octets.data(), octets.size());
    return id;
  }
  bool done() const { return next_ == lines_.size(); }

 private:
  std::vector<std::string> lines_;
  size_t next_ = 0;
};

// Acks that wait to be sent, a row for each partition.
class Acks {
 public:
  Acks() {
    box_.store.attach({box_.rows.data(), 1}, box_.memory.get(), 256);
    box_.store.slot(0).state = kshare::SlotState::ready;
    box_.store.slot(0).lots_head = 9;  // never freed
    lots_.attach({lot_rows_.data(), kRows}, {lists_.data(), kRows});
    acks_.attach({slots_.data(), batches::size32(slots_.size())}, {}, lots_, box_.store);
  }
  // "first last type", or a type for each offset.
  void add(uint32_t row, const std::string& line) {
    std::istringstream words(line);
    int64_t first = 0;
    int64_t last = 0;
    words >> first >> last;
    const uint32_t lot = lots_.add(row, 1, first, last);
    lots_[lot].lock_min = kshare::kNever;
    std::vector<uint8_t> types;
    for (uint32_t type = 0; words >> type;) types.push_back(static_cast<uint8_t>(type));
    if (types.size() == 1 && types[0] != kRenew) {
      CHECK(acks_.settle_range(lot, first, last, types[0]));
      return;
    }
    for (size_t i = 0; first + static_cast<int64_t>(i) <= last; ++i) {
      int64_t offset = first + static_cast<int64_t>(i);
      const uint8_t type = types.size() == 1 ? types[0] : types[i];
      if (type == kRenew) {
        bool freed = false;
        const kshare::RecordId id = acks_.hand_out(lot, offset);
        CHECK(acks_.acknowledge(id, kshare::Ack::renew, freed).ok());
      } else {
        CHECK(acks_.settle_range(lot, offset, offset, type));
      }
    }
  }
  void write(uint32_t row, Writer& out, kshare::AckKind kind) {
    kshare::AckBatchWriter writer{acks_, kind, out, 16};
    CHECK(writer.write(row, 1, kshare::AckClass::sound, kshare::Instant{1}) != 0);
  }

 private:
  static constexpr uint8_t kRenew = 4;
  static constexpr uint32_t kRows = 256;
  batches::Box box_{1, 256};
  std::vector<kshare::Lot> lot_rows_ = std::vector<kshare::Lot>(kRows);
  std::vector<kshare::PartitionLists> lists_ = std::vector<kshare::PartitionLists>(kRows);
  std::vector<kshare::AckSlot> slots_ = std::vector<kshare::AckSlot>(1024);
  kshare::Lots lots_;
  kshare::AckBuffer acks_;
};

void write_topics(Fields& in, Writer& out, kshare::AckKind kind) {
  Acks acks;
  uint32_t row = 0;
  const uint32_t topics = out.begin_array();
  uint32_t topic_count = 0;
  for (; in.at("topic"); ++topic_count) {
    out.uuid(in.uuid("topic"));
    const uint32_t partitions = out.begin_array();
    uint32_t count = 0;
    for (; in.at("partition"); ++count, ++row) {
      out.i32(in.i32("partition"));
      if (in.at("acks")) {
        while (in.at("acks")) acks.add(row, std::string(in.text("acks")));
        acks.write(row, out, kind);
      } else {
        out.empty_array();
      }
      out.no_tags();
    }
    out.end_array(partitions, count);
    out.no_tags();
  }
  out.end_array(topics, topic_count);
}
void write_forgotten(Fields& in, Writer& out) {
  const uint32_t topics = out.begin_array();
  uint32_t topic_count = 0;
  for (; in.at("forgotten"); ++topic_count) {
    out.uuid(in.uuid("forgotten"));
    const uint32_t partitions = out.begin_array();
    uint32_t count = 0;
    for (; in.at("partition"); ++count) out.i32(in.i32("partition"));
    out.end_array(partitions, count);
    out.no_tags();
  }
  out.end_array(topics, topic_count);
}

void write_hello(Fields& in, int16_t version, Writer& out) {
  const std::string_view name = in.text("name");
  const std::string_view software = in.text("version");
  const std::string_view cluster = in.text("cluster");
  kshare::encode_api_versions(out, version, name, software, {cluster, in.i32("node")});
}
void write_metadata(Fields& in, Writer& out) {
  const uint32_t topics = out.begin_array();
  uint32_t count = 0;
  for (; in.at("topic"); ++count) kshare::encode_metadata_topic(out, in.text("topic"));
  out.end_array(topics, count);
  kshare::encode_metadata_tail(out, in.number("create") != 0);
}
void write_heartbeat(Fields& in, Writer& out) {
  kshare::HeartbeatHead head;
  head.group_id = in.text("group");
  head.member_id = in.text("member");
  head.member_epoch = in.i32("epoch");
  if (in.at("rack")) head.rack_id = in.text("rack");
  kshare::encode_heartbeat_head(out, head);
  if (in.number("names") == 0) {
    out.null_array();
  } else {
    const uint32_t names = out.begin_array();
    uint32_t count = 0;
    for (; in.at("topic"); ++count) out.string(in.text("topic"));
    out.end_array(names, count);
  }
  out.no_tags();
}
void write_share_fetch(Fields& in, int16_t version, Writer& out) {
  kshare::ShareFetchHead head;
  head.group_id = in.text("group");
  head.member_id = in.text("member");
  head.session_epoch = in.i32("epoch");
  head.max_wait_ms = in.i32("wait");
  head.min_bytes = in.i32("min");
  head.max_bytes = in.i32("max");
  head.max_records = in.i32("records");
  head.batch_size = in.i32("batch");
  head.acquire_mode = static_cast<int8_t>(in.number("mode"));
  kshare::encode_share_fetch_head(out, version, head);
  write_topics(in, out, kshare::AckKind::terminal);
  write_forgotten(in, out);
  out.no_tags();
}
void write_share_acknowledge(Fields& in, int16_t version, Writer& out) {
  kshare::ShareAcknowledgeHead head;
  head.group_id = in.text("group");
  head.member_id = in.text("member");
  head.session_epoch = in.i32("epoch");
  head.renew = in.number("renew") != 0;
  kshare::encode_share_acknowledge_head(out, version, head);
  write_topics(in, out, head.renew ? kshare::AckKind::renewal : kshare::AckKind::terminal);
  out.no_tags();
}
void write_fetch(Fields& in, Writer& out) {
  kshare::FetchOne fetch;
  fetch.topic_id = in.uuid("topic");
  fetch.partition = in.i32("partition");
  fetch.offset = in.number("offset");
  fetch.max_bytes = in.i32("max");
  fetch.max_wait_ms = in.i32("wait");
  kshare::encode_fetch(out, fetch);
}
void write_request(const Vector& vector, Fields& in, Writer& out) {
  switch (vector.key) {
    case 1: return write_fetch(in, out);
    case 3: return write_metadata(in, out);
    case 10: return kshare::encode_find_coordinator(out, in.text("group"));
    case 18: return write_hello(in, vector.version, out);
    case 76: return write_heartbeat(in, out);
    case 78: return write_share_fetch(in, vector.version, out);
    case 79: return write_share_acknowledge(in, vector.version, out);
    default: FAIL_CHECK("no such API");
  }
}

kshare::Api api_of(int16_t key) {
  uint32_t row = 0;
  while (row + 1 < kshare::kApis && kshare::kApiRows[row].key != key) ++row;
  return static_cast<kshare::Api>(row);
}

}  // namespace

TEST_CASE("requests: the octets of Kafka's own classes, for every API and version") {
  for (const Vector* vector : golden::all(What::request)) {
    CAPTURE(vector->name);
    Fields in{*vector};
    std::vector<uint8_t> window(8192);
    Writer out{window.data(), size_of(window)};
    write_request(*vector, in, out);
    CHECK(out.ok());
    CHECK(in.done());
    CHECK(hex_of(window.data(), out.size()) == vector->hex);
  }
}

TEST_CASE("request headers: what a link writes in front of each request") {
  for (const Vector* vector : golden::all(What::request_header)) {
    CAPTURE(vector->name);
    Fields in{*vector};
    wire::Wire w;
    w.shared.options.client_id = in.text("client");
    const bool hello = vector->key == 18;
    if (hello && vector->version != 0) w.shared.hello_version = vector->version;
    w.connect();
    if (hello) {
      Message frame = w.take();
      if (vector->version == 0) {
        CHECK(w.answer(1, wire::Offer::refusal(0, 0)) == kshare::Link::Negotiation::unfinished);
        frame = w.take();
      }
      uint8_t body[64];
      Writer out{body, sizeof body};
      kshare::encode_api_versions(out, vector->version, "kshare", kshare::kVersion);
      CHECK(hex_of(frame.data() + 4, size_of(frame) - 4) == vector->hex + hex_of(body, out.size()));
      continue;
    }
    w.take();
    REQUIRE(w.answer(1, wire::Offer{}.set(vector->key, 0, vector->version).body()) ==
            kshare::Link::Negotiation::ready);
    const Writer out = w.link.begin(api_of(vector->key), w.shared);
    CHECK(hex_of(w.sending.get() + 4, out.size() - 4) == vector->hex);
  }
}

}  // namespace test_golden_requests

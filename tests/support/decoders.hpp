// SPDX-License-Identifier: Apache-2.0
// What:        answers written octet by octet as the schemas say, and any response decoder run over
//              them, its items as lines of text.
// Flow:        Build -> body -> decode() -> Reader on a window of exactly the size asked for -> the
//              decoder -> lines.
// Memory:      the tests' own; windows are heap blocks, so a sanitizer sees every octet.
// Valid until: plain values.
// Errors:      decode() tells "ended", "malformed" or neither: more octets are needed.
#ifndef KSHARE_TESTS_DECODERS_HPP
#define KSHARE_TESTS_DECODERS_HPP

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kshare/message/api_versions.hpp"
#include "kshare/message/fetch.hpp"
#include "kshare/message/find_coordinator.hpp"
#include "kshare/message/metadata.hpp"
#include "kshare/message/share_acknowledge.hpp"
#include "kshare/message/share_fetch.hpp"
#include "kshare/message/share_group_heartbeat.hpp"

namespace decoders {

using Message = std::vector<uint8_t>;

inline uint32_t size_of(const Message& message) {
  return static_cast<uint32_t>(message.size() & 0xFFFFFFFFu);
}

// What stands wherever a schema allows tagged fields.
enum class Tags : uint8_t { none, small, large };

// Integers and texts as the wire has them; shares nothing with wire/writer.hpp.
class Build {
 public:
  explicit Build(Tags tags = Tags::none) : tags_(tags) {}

  Build& i8(int v) { return put(static_cast<uint64_t>(v), 1); }
  Build& i16(int v) { return put(static_cast<uint64_t>(v), 2); }
  Build& i32(int64_t v) { return put(static_cast<uint64_t>(v), 4); }
  Build& i64(int64_t v) { return put(static_cast<uint64_t>(v), 8); }
  Build& uvarint(uint32_t v) {
    for (; v >= 0x80u; v >>= 7) message.push_back(static_cast<uint8_t>((v & 0x7Fu) | 0x80u));
    message.push_back(static_cast<uint8_t>(v));
    return *this;
  }
  Build& uuid(uint8_t fill) {
    message.insert(message.end(), 16, fill);
    return *this;
  }
  Build& text(std::string_view words) {
    uvarint(static_cast<uint32_t>(words.size()) + 1);
    return raw(words);
  }
  Build& null() { return uvarint(0); }
  Build& array(uint32_t count) { return uvarint(count + 1); }
  Build& raw(std::string_view octets) {
    message.insert(message.end(), octets.begin(), octets.end());
    return *this;
  }
  // The end of a structure: no tagged fields, or some that nobody knows.
  Build& tags() {
    if (tags_ == Tags::none) return uvarint(0);
    if (tags_ == Tags::small) return uvarint(2).uvarint(7).text_tag(3).uvarint(130).text_tag(0);
    return uvarint(3).uvarint(9).text_tag(1).uvarint(10).text_tag(2600).uvarint(99).text_tag(0);
  }

  // The size of a tagged field that is known, and its octets; the tag stands before.
  Build& tag(const Message& octets) {
    uvarint(size_of(octets));
    message.insert(message.end(), octets.begin(), octets.end());
    return *this;
  }

  Message message;

 private:
  Build& text_tag(uint32_t size) {
    uvarint(size);
    message.insert(message.end(), size, 0xFF);
    return *this;
  }
  Build& put(uint64_t v, int octets) {
    for (int shift = 8 * (octets - 1); shift >= 0; shift -= 8) {
      message.push_back(static_cast<uint8_t>((v >> shift) & 0xFFu));
    }
    return *this;
  }

  Tags tags_;
};

enum class Kind : uint8_t {
  api_versions, metadata, find_coordinator, heartbeat, share_fetch, share_acknowledge, fetch,
  api_versions_0, metadata_12, share_acknowledge_1,
};
inline constexpr uint32_t kKinds = 10;

// A decoder of any kind; of the newest version, unless the kind names another.
class Any {
 public:
  enum class Step : uint8_t { more, item, end };

  // `exact`: all of the broker's words, octets of ids and records in hex.
  explicit Any(Kind kind, bool exact = false)
      : kind_(kind), exact_(exact), words_(new char[exact ? kAllWords : kWords]) {
    kshare::TextSink sink{words_.get(), exact ? kAllWords : kWords, 0};
    api_.begin(kind == Kind::api_versions_0 ? 0 : 5);
    metadata_.begin(kind == Kind::metadata_12 ? 12 : 13);
    search_.begin(sink);
    heartbeat_.begin(sink);
    share_fetch_.begin(sink);
    share_ack_.begin(kind == Kind::share_acknowledge_1 ? 1 : 2, sink);
    fetch_.begin();
  }

  // One item as a line, record bytes included.
  Step next(kshare::Reader& in, std::string& line) {
    while (record_bytes_ != 0) {
      const kshare::Bytes here = in.peek(record_bytes_);
      if (here.size == 0) return Step::more;
      records_.append(here.text());
      record_bytes_ -= here.size;
      in.consume(here.size);
      if (record_bytes_ == 0) {
        line = "records " + (exact_ ? hex(records_) : records_);
        records_.clear();
        return Step::item;
      }
    }
    line.clear();
    switch (kind_) {
      case Kind::api_versions:
      case Kind::api_versions_0: return api(in, line);
      case Kind::metadata:
      case Kind::metadata_12: return metadata(in, line);
      case Kind::find_coordinator: return search(in, line);
      case Kind::heartbeat: return heartbeat(in, line);
      case Kind::share_fetch: return share_fetch(in, line);
      case Kind::share_acknowledge:
      case Kind::share_acknowledge_1: return share_ack(in, line);
      case Kind::fetch: return fetch(in, line);
    }
    return Step::end;
  }

 private:
  static constexpr uint32_t kWords = 12;
  static constexpr uint32_t kAllWords = 32768;

  template <typename... Parts>
  Step say(std::string& line, const char* name, const Parts&... parts) const {
    line = name;
    (void(line += ' ' + show(parts)), ...);
    return Step::item;
  }
  template <typename T>
  static std::string show(const T& v) { return std::to_string(v); }
  static std::string show(const std::string& text) { return text; }
  static std::string show(const std::string_view& text) {
    return text.data() == nullptr ? "null" : "'" + std::string(text) + "'";
  }
  std::string show(const kshare::Uuid& id) const {
    const auto* octets = reinterpret_cast<const char*>(id.octets);
    return exact_ ? hex(std::string(octets, 16)) : "u" + std::to_string(id.octets[15]);
  }
  static std::string hex(const std::string& octets) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const char octet : octets) {
      text += kDigits[static_cast<uint8_t>(octet) >> 4];
      text += kDigits[static_cast<uint8_t>(octet) & 15u];
    }
    return text;
  }
  static std::string show(const kshare::NodeEndpoint& node) {
    return show(node.node_id) + " " + show(node.host) + " " + show(node.port);
  }
  static std::string show(const kshare::TextSink& sink) {
    return "'" + std::string(sink.to, sink.size) + "'";
  }

  Step api(kshare::Reader& in, std::string& line) {
    switch (api_.next(in)) {
      case kshare::ApiVersionsDecoder::Item::none: return Step::more;
      case kshare::ApiVersionsDecoder::Item::range:
        return say(line, "range", api_.key(), api_.min(), api_.max());
      case kshare::ApiVersionsDecoder::Item::feature:
        return say(line, "feature", api_.feature(), api_.level());
      case kshare::ApiVersionsDecoder::Item::end: break;
    }
    say(line, "end", api_.error(), std::string(api_.has_features() ? "features" : "none"));
    return Step::end;
  }
  Step metadata(kshare::Reader& in, std::string& line) {
    const auto& part = metadata_.partition();
    switch (metadata_.next(in)) {
      case kshare::MetadataDecoder::Item::none: return Step::more;
      case kshare::MetadataDecoder::Item::broker: return say(line, "broker", metadata_.broker());
      case kshare::MetadataDecoder::Item::cluster:
        return say(line, "cluster", std::string("'") + std::string(metadata_.cluster_id()) + "'");
      case kshare::MetadataDecoder::Item::topic:
        return say(line, "topic", metadata_.topic().name, metadata_.topic().id,
                   metadata_.topic().error);
      case kshare::MetadataDecoder::Item::partition:
        return say(line, "partition", metadata_.topic().id, part.index, part.leader_id,
                   part.leader_epoch, part.error);
      case kshare::MetadataDecoder::Item::end: break;
    }
    say(line, "end", metadata_.throttle_ms(), metadata_.error());
    return Step::end;
  }
  Step search(kshare::Reader& in, std::string& line) {
    switch (search_.next(in)) {
      case kshare::FindCoordinatorDecoder::Item::none: return Step::more;
      case kshare::FindCoordinatorDecoder::Item::coordinator:
        return say(line, "coordinator", search_.coordinator());
      case kshare::FindCoordinatorDecoder::Item::end: break;
    }
    say(line, "end", search_.throttle_ms(), search_.error(), search_.words());
    return Step::end;
  }
  Step heartbeat(kshare::Reader& in, std::string& line) {
    switch (heartbeat_.next(in)) {
      case kshare::ShareGroupHeartbeatDecoder::Item::none: return Step::more;
      case kshare::ShareGroupHeartbeatDecoder::Item::head:
        return say(line, "head", heartbeat_.throttle_ms(), heartbeat_.error(), heartbeat_.words(),
                   heartbeat_.member_epoch(), heartbeat_.interval_ms());
      case kshare::ShareGroupHeartbeatDecoder::Item::assignment: return say(line, "assignment");
      case kshare::ShareGroupHeartbeatDecoder::Item::partition:
        return say(line, "partition", heartbeat_.topic_id(), heartbeat_.partition());
      case kshare::ShareGroupHeartbeatDecoder::Item::end: break;
    }
    say(line, "end");
    return Step::end;
  }
  Step share_fetch(kshare::Reader& in, std::string& line) {
    const kshare::SharePartition& part = share_fetch_.partition();
    switch (share_fetch_.next(in)) {
      case kshare::ShareFetchDecoder::Item::none: return Step::more;
      case kshare::ShareFetchDecoder::Item::head:
        return say(line, "head", share_fetch_.throttle_ms(), share_fetch_.error(),
                   share_fetch_.words(), share_fetch_.lock_timeout_ms());
      case kshare::ShareFetchDecoder::Item::partition:
        return say(line, "partition", part.topic_id, part.index, part.error, part.ack_error,
                   part.leader_id, part.leader_epoch);
      case kshare::ShareFetchDecoder::Item::records:
        record_bytes_ = share_fetch_.records_bytes();
        return say(line, "bytes", record_bytes_);
      case kshare::ShareFetchDecoder::Item::acquired:
        return say(line, "acquired", share_fetch_.acquired().first, share_fetch_.acquired().last,
                   share_fetch_.acquired().delivery_count);
      case kshare::ShareFetchDecoder::Item::partition_end: return say(line, "partition_end");
      case kshare::ShareFetchDecoder::Item::node: return say(line, "node", share_fetch_.node());
      case kshare::ShareFetchDecoder::Item::end: break;
    }
    say(line, "end");
    return Step::end;
  }
  Step share_ack(kshare::Reader& in, std::string& line) {
    const kshare::SharePartition& part = share_ack_.partition();
    switch (share_ack_.next(in)) {
      case kshare::ShareAcknowledgeDecoder::Item::none: return Step::more;
      case kshare::ShareAcknowledgeDecoder::Item::head:
        return say(line, "head", share_ack_.throttle_ms(), share_ack_.error(), share_ack_.words(),
                   share_ack_.lock_timeout_ms());
      case kshare::ShareAcknowledgeDecoder::Item::partition:
        return say(line, "partition", part.topic_id, part.index, part.error, part.leader_id,
                   part.leader_epoch);
      case kshare::ShareAcknowledgeDecoder::Item::node: return say(line, "node", share_ack_.node());
      case kshare::ShareAcknowledgeDecoder::Item::records:
      case kshare::ShareAcknowledgeDecoder::Item::acquired:
      case kshare::ShareAcknowledgeDecoder::Item::partition_end:
        return say(line, "unexpected");  // ShareFetch only
      case kshare::ShareAcknowledgeDecoder::Item::end: break;
    }
    say(line, "end");
    return Step::end;
  }
  Step fetch(kshare::Reader& in, std::string& line) {
    switch (fetch_.next(in)) {
      case kshare::FetchDecoder::Item::none: return Step::more;
      case kshare::FetchDecoder::Item::head:
        return say(line, "head", fetch_.throttle_ms(), fetch_.error());
      case kshare::FetchDecoder::Item::partition:
        return say(line, "partition", fetch_.topic_id(), fetch_.partition(),
                   fetch_.partition_error(), fetch_.log_start());
      case kshare::FetchDecoder::Item::records:
        record_bytes_ = fetch_.records_bytes();
        return say(line, "bytes", record_bytes_);
      case kshare::FetchDecoder::Item::partition_end: return say(line, "partition_end");
      case kshare::FetchDecoder::Item::end: break;
    }
    say(line, "end");
    return Step::end;
  }

  Kind kind_;
  bool exact_;
  std::unique_ptr<char[]> words_;
  kshare::ApiVersionsDecoder api_{};
  kshare::MetadataDecoder metadata_{};
  kshare::FindCoordinatorDecoder search_{};
  kshare::ShareGroupHeartbeatDecoder heartbeat_{};
  kshare::ShareFetchDecoder share_fetch_{};
  kshare::ShareAcknowledgeDecoder share_ack_{};
  kshare::FetchDecoder fetch_{};
  uint32_t record_bytes_ = 0;
  std::string records_;
};

struct Result {
  std::vector<std::string> items;  // "end" with its fields is the last, if ended
  bool ended = false;
  bool malformed = false;
  uint32_t left = 0;  // octets of the frame that nobody read
};

// How a body arrives: in a frame of `frame` octets of which `count` come, at most `piece` at once,
// through a window of `window`.
struct Way {
  uint32_t window = 1024;
  uint32_t piece = UINT32_MAX;
  uint32_t count = UINT32_MAX;
  uint32_t frame = UINT32_MAX;  // as long as the body
  uint32_t cut = 0;             // so many octets come first, in one piece
  bool exact = false;           // see Any
};

inline Result decode(Kind kind, const Message& body, const Way& way = {}) {
  Result result;
  const std::unique_ptr<uint8_t[]> memory{new uint8_t[way.window]};
  kshare::Reader in;
  in.attach(memory.get(), way.window);
  in.begin_frame(way.frame == UINT32_MAX ? size_of(body) : way.frame);
  Any decoder{kind, way.exact};
  const uint32_t end = std::min(way.count, size_of(body));
  uint32_t at = 0;
  std::string line;
  for (;;) {
    for (auto step = decoder.next(in, line); step != Any::Step::more && !result.ended;
         step = decoder.next(in, line)) {
      if (in.malformed() && step == Any::Step::end) break;
      result.items.push_back(line);
      result.ended = step == Any::Step::end;
    }
    result.malformed = in.malformed();
    result.left = in.frame_left();
    const kshare::MutableBytes space = in.space();
    const uint32_t piece = at < way.cut ? way.cut - at : way.piece;
    const uint32_t count = std::min({piece, end - at, space.size});
    if (result.ended || result.malformed || count == 0) return result;
    std::memcpy(space.data, body.data() + at, count);
    in.filled(count);
    at += count;
  }
}

}  // namespace decoders

#endif  // KSHARE_TESTS_DECODERS_HPP

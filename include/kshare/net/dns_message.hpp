// SPDX-License-Identifier: Apache-2.0
// What:        DNS on the wire (RFC 1035): host names, one question for A or AAAA, and the
//              addresses in its answer.
// Flow:        net/dns.hpp -> encode_dns_query -> a server -> read_dns_answer -> net/dns.hpp.
// Memory:      the caller's; nothing is kept.
// Valid until: a DnsAnswer is a copy.
// Errors:      an answer is untrusted. Whatever is in it ends in a DnsOutcome, after work bounded
//              by the packet's length: names point backwards only, an alias leads to at most
//              kDnsAliasesMax others.
#ifndef KSHARE_NET_DNS_MESSAGE_HPP
#define KSHARE_NET_DNS_MESSAGE_HPP

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/net/resolver.hpp"

namespace kshare::posix {

inline constexpr uint32_t kDnsNameMax = 253;  // as text, without the dot at the end
inline constexpr uint32_t kDnsLabelMax = 63;
inline constexpr uint32_t kDnsAliasesMax = 8;
inline constexpr uint32_t kDnsAddressesMax = 6;  // of one answer, and kept of a name
inline constexpr uint32_t kDnsHeaderBytes = 12;
inline constexpr uint32_t kDnsQueryMax = kDnsHeaderBytes + kDnsNameMax + 2 + 4;
inline constexpr uint32_t kDnsAnswerMax = 512;  // without EDNS; of a longer one the rest is cut

enum class DnsType : uint16_t { a = 1, cname = 5, aaaa = 28 };

constexpr char dns_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool same_dns_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (dns_lower(a[i]) != dns_lower(b[i])) return false;
  }
  return true;
}

// Whether this, without a dot at the end, can be a host's name: labels of letters, digits, - and _,
// the last one not a number (that would be a mistyped address).
constexpr bool is_dns_name(std::string_view name) {
  if (name.empty() || name.size() > kDnsNameMax) return false;
  uint32_t label = 0;
  bool number = true;
  for (char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      number = true;
      continue;
    }
    const bool digit = c >= '0' && c <= '9';
    const char lower = dns_lower(c);
    if (!digit && !(lower >= 'a' && lower <= 'z') && c != '-' && c != '_') return false;
    if (++label > kDnsLabelMax) return false;
    number = number && digit;
  }
  return label != 0 && !number;
}

// "localhost" and what is below it: never asked for (RFC 6761).
constexpr bool is_localhost(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  constexpr std::string_view kName = "localhost";
  if (name.size() < kName.size()) return false;
  const size_t front = name.size() - kName.size();
  if (front != 0 && name[front - 1] != '.') return false;
  name.remove_prefix(front);
  return same_dns_name(name, kName);
}

// Writes the question for one type; answers its size. The name must be sound: is_dns_name().
inline uint32_t encode_dns_query(std::string_view name, DnsType type, uint16_t id,
                                 uint8_t (&out)[kDnsQueryMax]) {
  const uint8_t header[kDnsHeaderBytes] = {
      static_cast<uint8_t>(id >> 8),
      static_cast<uint8_t>(id),  // ID
      1,
      0,  // RD: recursion desired
      0,
      1,
      0,
      0,
      0,
      0,
      0,
      0,  // QDCOUNT 1, no other records
  };
  KSHARE_ASSERT(!name.empty() && name.size() <= kDnsNameMax);
  std::memcpy(out, header, sizeof header);
  uint32_t at = kDnsHeaderBytes;
  uint32_t length_at = at++;
  for (char c : name) {
    if (c == '.') {
      out[length_at] = static_cast<uint8_t>(at - length_at - 1);
      length_at = at++;
    } else {
      out[at++] = static_cast<uint8_t>(c);
    }
  }
  out[length_at] = static_cast<uint8_t>(at - length_at - 1);
  const uint8_t tail[5] = {0, 0, static_cast<uint8_t>(type), 0, 1};  // root, QTYPE, QCLASS IN
  std::memcpy(out + at, tail, sizeof tail);
  return at + 5;
}

enum class DnsOutcome : uint8_t {
  ignored,    // not the answer to this question: go on waiting
  addresses,  // some
  no_data,    // the name has no address of this type
  no_name,    // there is no such name (NXDOMAIN)
  failed,     // this server cannot tell: SERVFAIL, REFUSED, malformed, truncated to nothing
};

struct DnsAnswer {
  DnsOutcome outcome = DnsOutcome::ignored;
  uint32_t ttl_s = 0;  // the least of those on the way to the addresses
  uint32_t count = 0;
  Address addresses[kDnsAddressesMax]{};
};

// A name inside a packet, label by label.
class DnsLabels {
 public:
  DnsLabels(Bytes packet, uint32_t at) : packet_(packet), at_(at), floor_(at) {}

  // The next label, empty at the end of the name; false: malformed.
  bool next(std::string_view& label) {
    for (;;) {
      if (at_ >= packet_.size) return false;
      const uint32_t size = packet_[at_];
      if (size <= kDnsLabelMax) {
        if (packet_.size - at_ - 1 < size || (bytes_ += size + 1) > kDnsNameMax + 2) return false;
        label = Bytes{packet_.data + at_ + 1, size}.text();
        at_ += size + 1;
        return true;
      }
      if (size < 0xC0 || packet_.size - at_ < 2) return false;
      const uint32_t target = (size & 0x3F) << 8 | packet_[at_ + 1];
      if (end_ == 0) end_ = at_ + 2;
      if (target >= floor_ || target < kDnsHeaderBytes) return false;  // backwards, each time more
      at_ = floor_ = target;
    }
  }
  // What follows the name, once next() has given the end.
  uint32_t end() const { return end_ == 0 ? at_ : end_; }

 private:
  Bytes packet_;
  uint32_t at_;
  uint32_t floor_;  // pointers go below the start of what is being read
  uint32_t end_ = 0;
  uint32_t bytes_ = 0;
};

inline bool same_dns_name(Bytes packet, uint32_t a, uint32_t b) {
  DnsLabels one{packet, a};
  DnsLabels two{packet, b};
  std::string_view left;
  std::string_view right;
  do {
    if (!one.next(left) || !two.next(right) || !same_dns_name(left, right)) return false;
  } while (!left.empty());
  return true;
}

struct DnsRecord {
  uint32_t owner = 0;  // where its name begins
  uint16_t type = 0;
  uint32_t ttl_s = 0;
  uint32_t data = 0;
  uint32_t data_bytes = 0;
};

// Reads the record at `at` and moves behind it; false: malformed, or cut.
inline bool read_dns_record(Bytes packet, uint32_t& at, DnsRecord& out) {
  DnsLabels name{packet, at};
  std::string_view label;
  do {
    if (!name.next(label)) return false;
  } while (!label.empty());
  const uint32_t fixed = name.end();
  if (packet.size < fixed || packet.size - fixed < 10) return false;
  const uint8_t* const p = packet.data + fixed;
  out.owner = at;
  out.type = p[2] == 0 && p[3] == 1 ? load_be16(p) : uint16_t{0};  // IN
  out.ttl_s = load_be32(p + 4);
  if (out.ttl_s > INT32_MAX) out.ttl_s = 0;  // RFC 2181
  out.data = fixed + 10;
  out.data_bytes = load_be16(p + 8);
  if (packet.size - out.data < out.data_bytes) return false;
  at = out.data + out.data_bytes;
  return true;
}

// 0.0.0.0 and ::, with which blocking servers mean "none"; Linux would connect to itself.
inline bool is_unspecified(const Address& address) {
  for (uint8_t octet : address.octets) {
    if (octet != 0) return false;
  }
  return true;
}

inline void take_dns_address(Bytes packet, const DnsRecord& record, DnsAnswer& answer) {
  const bool v6 = record.type == static_cast<uint16_t>(DnsType::aaaa);
  if (record.data_bytes != (v6 ? 16u : 4u) || answer.count == kDnsAddressesMax) return;
  Address address;
  address.v6 = v6;
  std::memcpy(address.octets, packet.data + record.data, record.data_bytes);
  if (!is_unspecified(address)) answer.addresses[answer.count++] = address;
}

// One walk over the answers for the name at `owner`: takes its addresses, or finds its alias (0:
// none). False: malformed, or cut; what came before is in `answer`.
inline bool walk_dns_answers(Bytes packet, uint32_t at, uint32_t count, uint32_t owner,
                             uint16_t type, DnsAnswer& answer, uint32_t& alias) {
  alias = 0;
  for (uint32_t i = 0; i < count; ++i) {
    DnsRecord record;
    if (!read_dns_record(packet, at, record)) return false;
    const bool is_alias = record.type == static_cast<uint16_t>(DnsType::cname);
    if ((record.type != type && !is_alias) || !same_dns_name(packet, record.owner, owner)) continue;
    if (record.ttl_s < answer.ttl_s) answer.ttl_s = record.ttl_s;
    if (is_alias)
      alias = record.data;
    else
      take_dns_address(packet, record, answer);
  }
  return true;
}

// What a packet says to a query of encode_dns_query().
inline DnsAnswer read_dns_answer(Bytes packet, Bytes query) {
  DnsAnswer answer;
  const uint32_t question_bytes = query.size - kDnsHeaderBytes;
  if (packet.size < kDnsHeaderBytes) return answer;
  const uint8_t* const p = packet.data;
  if (p[0] != query[0] || p[1] != query[1]) return answer;
  if ((p[2] & 0xF8) != 0x80) return answer;  // QR, OPCODE
  const bool truncated = (p[2] & 2) != 0;
  const uint32_t rcode = p[3] & 0xF;
  const uint32_t questions = load_be16(p + 4);
  const uint32_t count = load_be16(p + 6);
  if (questions == 0 && rcode != 0) {  // servers that did not even read it
    answer.outcome = DnsOutcome::failed;
    return answer;
  }
  if (questions != 1 || packet.size - kDnsHeaderBytes < question_bytes) return answer;
  if (!same_dns_name(Bytes{p + kDnsHeaderBytes, question_bytes}.text(),
                     Bytes{query.data + kDnsHeaderBytes, question_bytes}.text())) {
    return answer;
  }
  answer.outcome = rcode == 3 ? DnsOutcome::no_name : DnsOutcome::failed;
  if (rcode != 0) return answer;
  const bool knows = (p[2] & 4) != 0 || (p[3] & 0x80) != 0;  // AA, RA
  if (count == 0 && (truncated || !knows)) return answer;    // a referral: no answer to us

  const uint16_t type = load_be16(query.data + query.size - 4);
  answer.ttl_s = INT32_MAX;
  uint32_t owner = kDnsHeaderBytes;
  for (uint32_t hop = 0; hop <= kDnsAliasesMax; ++hop) {
    uint32_t alias = 0;
    const uint32_t first = kDnsHeaderBytes + question_bytes;
    const bool whole = walk_dns_answers(packet, first, count, owner, type, answer, alias);
    if (!whole && !truncated) answer.count = 0;
    if (answer.count != 0)
      answer.outcome = DnsOutcome::addresses;
    else if (whole && alias == 0 && !truncated)
      answer.outcome = DnsOutcome::no_data;
    if (answer.count != 0 || alias == 0 || (!whole && !truncated)) return answer;
    owner = alias;
  }
  return answer;  // a chain without an end: failed
}

}  // namespace kshare::posix

#endif  // KSHARE_NET_DNS_MESSAGE_HPP

// SPDX-License-Identifier: Apache-2.0
// DNS answers, resolv.conf and the hosts file. The first octet says which; of an answer, the octets
// that make it one for our question are put in, so that the search goes on behind them.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "kshare/net/dns_config.hpp"
#include "kshare/net/dns_message.hpp"

namespace {

using kshare::Bytes;
namespace posix = kshare::posix;

void read_answer(const uint8_t* data, size_t size, bool ours) {
  uint8_t query[posix::kDnsQueryMax];
  const uint32_t query_bytes =
      posix::encode_dns_query("b1.kafka.example", posix::DnsType::a, 0x1234, query);
  const std::unique_ptr<uint8_t[]> packet{new uint8_t[size]};
  if (size != 0) std::memcpy(packet.get(), data, size);
  if (ours && size >= query_bytes) {
    std::memcpy(packet.get(), query, 2);
    packet[2] = static_cast<uint8_t>((packet[2] & 7) | 0x80);
    packet[4] = 0;
    packet[5] = 1;
    std::memcpy(packet.get() + 12, query + 12, query_bytes - 12);
  }
  const posix::DnsAnswer answer =
      posix::read_dns_answer({packet.get(), static_cast<uint32_t>(size)}, {query, query_bytes});
  const bool some = answer.outcome == posix::DnsOutcome::addresses;
  if (some != (answer.count != 0) || answer.count > posix::kDnsAddressesMax) std::abort();
}

void read_files(const uint8_t* data, size_t size, uint32_t piece) {
  posix::DnsConfig config;
  posix::ResolvReader resolv{config, 53};
  posix::HostsReader hosts{"broker"};
  const auto each = [&](std::string_view word, uint32_t index) {
    resolv.take(word, index);
    hosts.take(word, index, [](const posix::Address&) {});
  };
  posix::DnsWords words;
  for (size_t at = 0; at < size; at += piece) {
    const size_t left = size - at;
    words.feed({data + at, left < piece ? static_cast<uint32_t>(left) : piece}, each);
  }
  words.end(each);
  uint32_t domains = 0;
  while (!config.domain(domains).empty()) ++domains;
  if (domains > sizeof config.search / 2) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 4 == 3)
    read_files(data + 1, size - 1, 1u + data[0] / 4);
  else
    read_answer(data + 1, size - 1, data[0] % 4 != 0);
  return 0;
}
